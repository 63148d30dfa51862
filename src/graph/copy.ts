import { create, type DescMessage, type MessageShape } from '@bufbuild/protobuf'

/** A message like another one but for some fields. `create` takes one that was spread for a message already, and leaves it without its defaults. */
export function copyOf<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  changes: Partial<MessageShape<Desc>> = {},
): MessageShape<Desc> {
  return Object.assign(create(schema), message, changes)
}
