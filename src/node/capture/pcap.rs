//! The classic format: one header, then packets.

use pcap_parser::{PcapHeader, parse_pcap_header};

use super::facts::InterfaceFacts;
use super::format::{Block, Fault, Order, Packet};
use super::input::{Input, RECORD_MAX};
use crate::ip::LinkType;
use twinline_core::Nanos;

/// A classic capture, after its header.
pub(super) struct Pcap {
    link: LinkType,
    number: u16,
    order: Order,
    modified: bool,
    nanoseconds: bool,
}

impl Pcap {
    /// Bytes of the file's header.
    pub(super) const HEADER: usize = 24;

    /// By the file's first [`Pcap::HEADER`] bytes; `None` if they are not those of this format.
    pub(super) fn from_header(header: &[u8]) -> Option<Pcap> {
        let (_, header): (_, PcapHeader) = parse_pcap_header(header).ok()?;
        Some(Pcap {
            // the upper half holds flags, such as the length of a frame check sequence
            link: LinkType::from_number(header.network.0 as u16),
            number: header.network.0 as u16,
            order: if header.is_bigendian() { Order::Big } else { Order::Little },
            modified: header.is_modified_format(),
            nanoseconds: header.is_nanosecond_precision(),
        })
    }

    /// What the header says about the only interface.
    pub(super) fn facts(&self) -> InterfaceFacts<'_> {
        let ticks_per_second = if self.nanoseconds { 1_000_000_000 } else { 1_000_000 };
        InterfaceFacts { name: None, link: self.number, ticks_per_second }
    }

    /// The next record.
    #[inline]
    pub(super) fn next(&mut self, input: &mut Input) -> Result<Block, Fault> {
        let header = if self.modified { 24 } else { 16 };
        if !input.need(header)? {
            return Ok(Block::End);
        }
        let length = self.order.u32(input.data(), 8) as usize;
        if length > RECORD_MAX {
            return Err(Fault::Damaged(format!("a record says that it is {length} bytes long")));
        }
        let size = header + length;
        if !input.need(size)? {
            return Ok(Block::End);
        }
        let (seconds, fraction) = (self.order.u32(input.data(), 0), self.order.u32(input.data(), 4));
        let fraction = u64::from(fraction);
        let fraction = if self.nanoseconds { Nanos(fraction) } else { Nanos::from_micros(fraction) };
        Ok(Block::Packet(Packet {
            link: self.link,
            interface: 0,
            stamp: Some(Nanos::from_secs(u64::from(seconds)) + fraction),
            bytes: header..size,
            size,
        }))
    }
}
