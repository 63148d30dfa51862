//! Asks the scheduler to let a thread run soon after it wakes.

/// A reading thread sleeps in a read, then needs a processor for some tens of microseconds, while compute threads keep all
/// of them busy for milliseconds on end. Linux (since 6.12) lets a thread with a short slice run before one with a long
/// one when it wakes; its share of time stays the same, so no privilege is needed. A wish: where it is unknown, nothing
/// happens.
#[cfg(target_os = "linux")]
pub(crate) fn wake_promptly() {
    /// `struct sched_attr` of the kernel, its first version
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime_ns: u64,
        deadline_ns: u64,
        period_ns: u64,
    }
    let mut attributes = Attributes {
        size: std::mem::size_of::<Attributes>() as u32,
        ..Attributes::default()
    };
    let (this_thread, size) = (0, attributes.size);
    // SAFETY: the kernel writes at most `size` bytes to the struct, which is plain numbers
    let known = unsafe { libc::syscall(libc::SYS_sched_getattr, this_thread, &mut attributes, size, 0) } == 0;
    // the ordinary policy only: whoever chose another for the process knows better
    if known && attributes.policy == libc::SCHED_OTHER as u32 {
        attributes.runtime_ns = SLICE_NS;
        // SAFETY: the kernel reads the struct
        unsafe { libc::syscall(libc::SYS_sched_setattr, this_thread, &attributes, 0) };
    }
}

/// The shortest slice that the kernel grants.
#[cfg(target_os = "linux")]
const SLICE_NS: u64 = 100_000;

#[cfg(not(target_os = "linux"))]
pub(crate) fn wake_promptly() {}
