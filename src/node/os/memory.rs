//! Memory that stays where it is: no page fault, and nothing on disk, while datagrams come.

use std::fs;
use std::io;

/// Why memory cannot be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The limit is below what is needed, and applies to this process.
    #[error(
        "memory cannot be locked: RLIMIT_MEMLOCK lets this process lock {} KiB, and it needs {} KiB; raise the limit \
         (ulimit -l {}, or LimitMEMLOCK= in a systemd unit), give the program CAP_IPC_LOCK, or leave out lock_memory",
        .limit / 1_024, kib(*.needs), kib(*.needs)
    )]
    Limit {
        /// The limit, in bytes.
        limit: u64,
        /// What is needed, in bytes.
        needs: u64,
    },
    /// The system refuses.
    #[error(
        "memory cannot be locked: {error}; {} KiB are needed, by RLIMIT_MEMLOCK (ulimit -l) and of this machine's memory",
        kib(*.needs)
    )]
    Refused {
        /// What the system said.
        error: io::Error,
        /// What is needed, in bytes.
        needs: u64,
    },
}

fn kib(bytes: u64) -> u64 {
    bytes.div_ceil(1_024)
}

/// Locks all memory that this process has and will have: it becomes resident now, and stays so. `more` is how many bytes it is
/// going to take: if it may not lock them too, that is an error now, instead of a failure when it takes them.
///
/// # Errors
/// [`LockError`], with what is needed.
pub fn lock_memory(more: u64) -> Result<(), LockError> {
    let needs = address_space().saturating_add(more);
    allowed(limit(), is_privileged(), needs)?;
    // SAFETY: the call takes no pointer, and changes nothing that a program can see but residence.
    let outcome = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
    if outcome == 0 { Ok(()) } else { Err(LockError::Refused { error: io::Error::last_os_error(), needs }) }
}

/// Whether this many bytes may be locked.
fn allowed(limit: Option<u64>, privileged: bool, needs: u64) -> Result<(), LockError> {
    match limit {
        Some(limit) if limit < needs && !privileged => Err(LockError::Limit { limit, needs }),
        _ => Ok(()),
    }
}

/// RLIMIT_MEMLOCK in bytes; `None` if there is no limit.
fn limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a limit that lives over the call.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    (outcome == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Whether this process has CAP_IPC_LOCK: then the limit does not bind it.
fn is_privileged() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|caps| u64::from_str_radix(caps.trim(), 16).ok())
        .is_some_and(|caps| caps >> CAP_IPC_LOCK & 1 == 1)
}

/// Bytes of address space that this process has: locking makes all of it resident.
fn address_space() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    // SAFETY: the call takes no pointer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.saturating_mul(u64::try_from(page).unwrap_or(4_096))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_says_what_is_needed() {
        assert!(allowed(None, false, u64::MAX).is_ok());
        assert!(allowed(Some(8 << 20), false, 8 << 20).is_ok());
        assert!(allowed(Some(8 << 20), true, 9 << 20).is_ok(), "the limit does not bind a privileged process");
        let refused = allowed(Some(8 << 20), false, (9 << 20) + 1).unwrap_err().to_string();
        for part in
            ["RLIMIT_MEMLOCK lets this process lock 8192 KiB", "needs 9217 KiB", "ulimit -l 9217", "CAP_IPC_LOCK"]
        {
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn this_process_has_an_address_space() {
        assert!(address_space() > 1 << 20);
    }
}
