use crate::reading::{Region, PAGE};
use crate::Code;

#[test]
fn cuts_zeroed_memory_into_slots_at_page_addresses() {
    for (slot_bytes, slots) in [(1, 1), (PAGE, 3), (PAGE + 1, 5), (3 << 20, 3)] {
        let mut region = Region::new(slot_bytes, slots).unwrap();
        assert!(region.slot_bytes() >= slot_bytes && region.slot_bytes() < slot_bytes + PAGE);
        assert_eq!(region.slots(), slots);
        assert_eq!(region.bytes().len(), region.slot_bytes() * slots);
        assert_eq!(region.bytes().as_ptr() as usize % PAGE, 0);
        assert!(region.bytes().iter().all(|&byte| byte == 0));
        region.bytes_mut().fill(7);
        assert_eq!(region.bytes().last(), Some(&7));
    }
}

#[test]
fn refuses_sizes_that_cannot_be() {
    for (slot_bytes, slots) in [
        (0, 1),
        (1, 0),
        (usize::MAX, 1),
        (1 << 40, 1 << 40),
        (usize::MAX / 2, 2),
        (PAGE, usize::MAX / PAGE),
    ] {
        assert_eq!(
            Region::new(slot_bytes, slots).err().unwrap().code,
            Code::BadInput,
            "{slot_bytes} {slots}"
        );
    }
    // more than any address space has, yet a number that could be: the system refuses
    assert_eq!(Region::new(1 << 62, 1).err().unwrap().code, Code::Io);
}
