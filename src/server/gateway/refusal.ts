/** Why a request is not answered with what it asks for: a status of HTTP, one line for people, and headers that go with it. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message)
  }
}
