//! Thread priorities. The only part of the miner that calls the system directly.

#![allow(unsafe_code)] // Two system calls that the standard library does not offer.

/// How a thread shares the processor with others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Priority {
    /// Runs only when nothing else wants to.
    Idle,
    /// Runs after ordinary programs but is never starved: somebody waits for the result.
    Low,
}

/// Nice value of [`Priority::Low`].
const LOW_NICE: libc::c_int = 10;

/// Lowers the calling thread's priority. Best effort: a system that refuses leaves the thread as it is.
#[cfg(target_os = "linux")]
pub(super) fn lower_this_thread(priority: Priority) {
    match priority {
        Priority::Idle => {
            // SAFETY: an all-zero sched_param is valid, and SCHED_IDLE requires exactly that.
            let param: libc::sched_param = unsafe { std::mem::zeroed() };
            // SAFETY: pid 0 is the calling thread; `param` lives across the call, which only reads it.
            unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &param) };
        }
        // SAFETY: takes plain numbers. On Linux, `PRIO_PROCESS` with id 0 means the calling thread.
        Priority::Low => unsafe {
            libc::setpriority(libc::PRIO_PROCESS, 0, LOW_NICE);
        },
    }
}

/// Other systems keep their default.
#[cfg(not(target_os = "linux"))]
pub(super) fn lower_this_thread(_: Priority) {}
