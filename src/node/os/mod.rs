//! Every system call: the clock, cores, sockets, mapped rings, signals, and a look at the machine. Apart from files read and
//! written through the standard library, no other module calls the system.
//!
//! | purpose | what there is |
//! |---|---|
//! | time | [`Clock`] |
//! | cores | [`usable_cores`], [`core_count`], [`pin_thread`], [`Spin`]: what a thread does while there is nothing |
//! | memory | [`lock_memory`] |
//! | ending a run | [`Stop`]: requested by the program or by a signal |
//! | interfaces | [`HostInterface`], [`enter_namespace`] |
//! | receiving by sockets | [`Receiver`] and [`Batch`] for the hot thread, [`Membership`] for the thread beside it |
//! | receiving by mapped rings | [`Ring`] for the hot thread, [`Attachment`] beside it: [`PacketRing`] (`AF_PACKET`), [`XdpRing`] (`AF_XDP`) |
//! | sending | [`Sender`]: UDP sockets; [`PacketSender`]: whole frames |
//! | the machine | [`examine_machine`]: what would spoil latency numbers; [`describe_machine`] |

mod clock;
mod cpu;
mod filter;
mod machine;
mod memory;
mod netns;
mod packet;
mod raw;
mod receive;
mod send;
mod send_packet;
mod sending;
mod signal;
mod xdp;

pub use clock::Clock;
pub use cpu::{PinError, Spin, core_count, pin_thread, usable_cores};
pub use machine::{Finding, Severity, describe_machine, examine_machine};
pub use memory::{LockError, lock_memory};
pub use netns::{HostInterface, NamespaceError, enter_namespace, no_such_interface};
pub use packet::{PacketAttachment, PacketRing};
pub use raw::{Attachment, Checksum, MappedRingError, RawFrame, Ring, RingOptions};
pub use receive::{
    Batch, KernelStamp, Membership, RECEIVE_BATCH, ReceiveOptions, Received, Receiver, SocketError,
    is_transient_receive_error,
};
pub use send::{SendOptions, SendTrouble, Sender, SenderError, SenderState};
pub(crate) use send_packet::joined_here;
pub use send_packet::{PacketError, PacketFlow, PacketSender};
pub use sending::{SEND_BATCH, SendFacts};
pub use signal::Stop;
pub use xdp::{XdpAttachment, XdpMode, XdpRing};
