//! What sending by sockets ([`send`](super::send)) and sending as frames ([`send_packet`](super::send_packet)) share.

/// The most datagrams that one system call sends.
pub const SEND_BATCH: usize = 64;

/// What a sender has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendFacts {
    /// Datagrams that went out.
    pub datagrams: u64,
    /// Their payloads' bytes.
    pub bytes: u64,
    /// Times that the link was down or the interface gone.
    pub unreachable: u64,
    /// Times that a queue was full.
    pub full: u64,
    /// Times that nobody listened at a unicast address.
    pub nobody: u64,
}
