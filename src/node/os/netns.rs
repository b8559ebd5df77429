//! The network that a thread sees: its interfaces, and the namespace that they belong to.
//!
//! Only its index identifies an interface for sure: a NIC that is deleted and re-created has the same name and address, a new
//! index, and none of the memberships of the old one.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::ptr;

/// A network interface, as it was when it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// The kernel's number for it. It is not used again while the system runs, unless someone asks for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The IPv4 address that it was looked up by, otherwise its first; `None`: it has none (yet).
    pub addr: Option<Ipv4Addr>,
    /// Whether it is up and has a carrier.
    pub running: bool,
    /// Whether it is the loopback interface.
    pub loopback: bool,
}

impl HostInterface {
    /// The interface with this name or IPv4 address; `None`: there is none at present.
    ///
    /// ```
    /// use twinline_node::os::HostInterface;
    /// assert!(HostInterface::resolve("127.0.0.1")?.is_some_and(|lo| lo.loopback));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The system's error if it cannot list the interfaces.
    pub fn resolve(name_or_addr: &str) -> io::Result<Option<HostInterface>> {
        Ok(HostInterface::find(&HostInterface::all()?, name_or_addr))
    }

    /// Like [`HostInterface::resolve`], among interfaces that were listed before.
    ///
    /// Every address in 127.0.0.0/8 means the loopback interface, as it does to the kernel.
    pub fn find(all: &[HostInterface], name_or_addr: &str) -> Option<HostInterface> {
        match name_or_addr.parse::<Ipv4Addr>() {
            Ok(addr) => all
                .iter()
                .find(|one| one.addr == Some(addr))
                .or_else(|| all.iter().find(|one| one.loopback && addr.is_loopback()))
                .map(|one| HostInterface { addr: Some(addr), ..one.clone() }),
            Err(_) => all.iter().find(|one| one.name == name_or_addr).cloned(),
        }
    }

    /// The interfaces of this thread's namespace: one entry per IPv4 address, and one for an interface without any.
    ///
    /// # Errors
    /// The system's error.
    pub fn all() -> io::Result<Vec<HostInterface>> {
        let mut first: *mut libc::ifaddrs = ptr::null_mut();
        // SAFETY: `first` is where the list is to be put
        if unsafe { libc::getifaddrs(&mut first) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut all: Vec<HostInterface> = Vec::new();
        let mut with_addr = Vec::new();
        let mut next = first;
        while !next.is_null() {
            // SAFETY: an entry of the list, which is freed below, after the last use
            let entry = unsafe { &*next };
            next = entry.ifa_next;
            if entry.ifa_addr.is_null() {
                continue;
            }
            // SAFETY: a name in the list ends in a zero; an address begins with its family
            let (name, family) = unsafe { (CStr::from_ptr(entry.ifa_name), i32::from((*entry.ifa_addr).sa_family)) };
            // the carrier itself (IFF_LOWER_UP): IFF_RUNNING lags by up to a second
            let running = libc::IFF_UP as u32 | libc::IFF_LOWER_UP as u32;
            let one = HostInterface {
                index: 0,
                name: name.to_string_lossy().into_owned(),
                addr: None,
                running: entry.ifa_flags & running == running,
                loopback: entry.ifa_flags & libc::IFF_LOOPBACK as u32 != 0,
            };
            if family == libc::AF_PACKET {
                // SAFETY: the family says that this is a sockaddr_ll; it may not be aligned as one
                let link = unsafe { entry.ifa_addr.cast::<libc::sockaddr_ll>().read_unaligned() };
                all.push(HostInterface { index: u32::try_from(link.sll_ifindex).unwrap_or(0), ..one });
            } else if family == libc::AF_INET {
                // SAFETY: as above, a sockaddr_in
                let inet = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned() };
                with_addr.push(HostInterface { addr: Some(Ipv4Addr::from(inet.sin_addr.s_addr.to_ne_bytes())), ..one });
            }
        }
        // SAFETY: the list that getifaddrs gave, freed once; nothing taken from it is borrowed any more
        unsafe { libc::freeifaddrs(first) };
        let mut listed = Vec::new();
        for link in all {
            let before = listed.len();
            // an address may have a label, `eth0:1`; the interface is what comes before the colon
            let own = with_addr.iter().filter(|one| one.name.split(':').next() == Some(link.name.as_str()));
            listed.extend(own.map(|one| HostInterface { addr: one.addr, ..link.clone() }));
            if listed.len() == before {
                listed.push(link);
            }
        }
        Ok(listed)
    }
}

/// Whether an error says that the interface does not exist (any more).
pub fn no_such_interface(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

/// Why a thread cannot enter a network namespace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// There is no namespace of that name.
    #[error("there is no network namespace {name} (/run/netns/{name}): `ip netns list` shows which exist")]
    NoSuchNamespace {
        /// The name.
        name: String,
    },
    /// A privilege is missing.
    #[error(
        "cannot enter the network namespace {name}: this needs the capability CAP_SYS_ADMIN; start as root, or grant it to the \
         program (`setcap cap_sys_admin+ep`)"
    )]
    Privilege {
        /// The namespace's name.
        name: String,
    },
    /// The system refuses for another reason.
    #[error("cannot enter the network namespace {name}: {error}")]
    System {
        /// The namespace's name.
        name: String,
        /// What the system says.
        error: io::Error,
    },
}

impl NamespaceError {
    fn of(name: &str, error: io::Error) -> NamespaceError {
        let name = name.to_owned();
        match error.raw_os_error() {
            Some(libc::ENOENT) => NamespaceError::NoSuchNamespace { name },
            Some(libc::EPERM | libc::EACCES) => NamespaceError::Privilege { name },
            _ => NamespaceError::System { name, error },
        }
    }
}

/// Puts the current thread, and the threads that it starts, into the network namespace that `ip netns add` gave this name.
/// Sockets belong to the namespace in which they are opened.
///
/// # Errors
/// [`NamespaceError`].
pub fn enter_namespace(name: &str) -> Result<(), NamespaceError> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(NamespaceError::NoSuchNamespace { name: name.to_owned() });
    }
    let namespace = File::open(format!("/run/netns/{name}")).map_err(|error| NamespaceError::of(name, error))?;
    // SAFETY: an open descriptor and a flag; the call touches no memory of ours
    let done = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if done == 0 { Ok(()) } else { Err(NamespaceError::of(name, io::Error::last_os_error())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_by_name_and_by_any_of_its_addresses() {
        let lo = HostInterface::resolve("lo").unwrap().expect("lo");
        assert!(lo.loopback && lo.index > 0);
        for addr in ["127.0.0.1", "127.0.0.2"] {
            let found = HostInterface::resolve(addr).unwrap().expect("lo by address");
            assert_eq!((found.index, found.name.as_str()), (lo.index, "lo"));
            assert_eq!(found.addr, addr.parse().ok());
        }
        assert_eq!(HostInterface::resolve("nosuchnic0").unwrap(), None);
        assert_eq!(HostInterface::resolve("203.0.113.77").unwrap(), None);
    }

    #[test]
    fn a_namespace_that_cannot_be_entered_is_told_with_what_to_do() {
        for name in ["no such namespace", "", "../netns", "a/b"] {
            assert!(matches!(enter_namespace(name).unwrap_err(), NamespaceError::NoSuchNamespace { .. }), "{name}");
        }
        let refused = NamespaceError::of("lab", io::Error::from_raw_os_error(libc::EPERM)).to_string();
        assert!(refused.contains("lab") && refused.contains("CAP_SYS_ADMIN"), "{refused}");
    }
}
