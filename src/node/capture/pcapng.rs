//! The block format: sections, each with its own byte order and interfaces.
//!
//! Blocks are delimited here, by their lengths alone: whatever is inside a block, the next one begins where its length says.
//! Packets are read in place. The blocks that describe (sections, interfaces, statistics) go to the parser, whole and up to a size,
//! since it lists their options. It reads option values as little-endian; here they are read in the section's order.

use std::collections::BTreeMap;

use pcap_parser::{
    InterfaceDescriptionBlock, OptionCode, PcapNGOption, parse_interfacedescriptionblock_be,
    parse_interfacedescriptionblock_le, parse_interfacestatisticsblock_be, parse_interfacestatisticsblock_le,
    parse_sectionheaderblock,
};

use super::facts::InterfaceFacts;
use super::format::{Block, Fault, Order, Packet, Unit};
use super::input::{Input, RECORD_MAX};
use crate::ip::LinkType;
use twinline_core::Nanos;

/// What a section that Twinline wrote names as its application, followed by a version.
pub(super) const APPLICATION: &str = "twinline ";

/// Block types; every section header reads the same in both byte orders.
pub(super) const SECTION: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
pub(super) const STATISTICS: u32 = 5;
pub(super) const PACKET: u32 = 6;

/// Options, by the block that they are in.
pub(super) const SHB_USERAPPL: u16 = 4;
pub(super) const IF_NAME: u16 = 2;
pub(super) const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
pub(super) const ISB_STARTTIME: u16 = 2;
pub(super) const ISB_ENDTIME: u16 = 3;
pub(super) const ISB_IFRECV: u16 = 4;
pub(super) const ISB_IFDROP: u16 = 5;
const ISB_OSDROP: u16 = 7;

/// Limits on what is kept of a section that lies: interfaces, bytes of a name, names with drops.
const INTERFACES_MAX: usize = 4_096;
const NAME_MAX: usize = 256;
const DROPPED_MAX: usize = 4_096;
/// The largest block that describes: an option holds 64 KiB at most, and some ten are known.
const DESCRIPTION_MAX: usize = 1 << 20;

/// A block capture, after as many section headers as were read.
pub(super) struct PcapNg {
    order: Order,
    interfaces: Vec<Interface>,
    sections: u64,
    own: u64,
    ended: u64,
    section_ended: bool,
    end: Option<Nanos>,
    dropped: BTreeMap<String, u64>,
}

struct Interface {
    name: Option<String>,
    link: LinkType,
    number: u16,
    snap_length: usize,
    unit: Unit,
    offset: i64,
    dropped: u64,
}

impl PcapNg {
    /// Before the first section header.
    pub(super) fn new() -> PcapNg {
        PcapNg {
            order: Order::Little,
            interfaces: Vec::new(),
            sections: 0,
            own: 0,
            ended: 0,
            section_ended: false,
            end: None,
            dropped: BTreeMap::new(),
        }
    }

    /// The interface's name, if it has one.
    pub(super) fn name(&self, interface: u32) -> Option<&str> {
        self.interfaces.get(interface as usize)?.name.as_deref()
    }

    /// What the section says of an interface.
    pub(super) fn facts(&self, interface: u32) -> Option<InterfaceFacts<'_>> {
        let interface = self.interfaces.get(interface as usize)?;
        Some(InterfaceFacts {
            name: interface.name.as_deref(),
            link: interface.number,
            ticks_per_second: interface.unit.ticks_per_second(),
        })
    }

    /// How many sections were begun.
    pub(super) fn sections(&self) -> u64 {
        self.sections
    }

    /// Whether Twinline wrote every section so far.
    pub(super) fn is_own(&self) -> bool {
        self.sections > 0 && self.own == self.sections
    }

    /// When the recording ended, if Twinline wrote it and it was finished.
    pub(super) fn end_stamp(&self) -> Option<Nanos> {
        if self.is_own() && self.ended == self.sections { self.end } else { None }
    }

    /// What the capture says was not recorded, by the interface's name (empty if it has none). Complete after the end.
    pub(super) fn dropped(&self) -> &BTreeMap<String, u64> {
        &self.dropped
    }

    /// The next block.
    pub(super) fn next(&mut self, input: &mut Input) -> Result<Block, Fault> {
        let block = self.block(input);
        if !matches!(block, Ok(Block::Packet(_) | Block::Malformed(_) | Block::Other(_))) {
            self.close_section();
        }
        block
    }

    #[inline]
    fn block(&mut self, input: &mut Input) -> Result<Block, Fault> {
        if !input.need(12)? {
            return Ok(Block::End);
        }
        let head = &input.data()[..12];
        if self.order.u32(head, 0) == SECTION {
            self.order = match head[8..] {
                [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
                [0x1a, 0x2b, 0x3c, 0x4d] => Order::Big,
                _ => return Err(Fault::Damaged("a section header gives no byte order".into())),
            };
        }
        let kind = self.order.u32(head, 0);
        let size = self.order.u32(head, 4) as usize;
        if size < 12 || !size.is_multiple_of(4) || size > RECORD_MAX {
            return Err(Fault::Damaged(format!("a block says that it is {size} bytes long")));
        }
        if matches!(kind, SECTION | INTERFACE | STATISTICS) && size > DESCRIPTION_MAX {
            return Err(Fault::Damaged(format!(
                "a block that describes a section or an interface is {size} bytes long"
            )));
        }
        if !input.need(size)? {
            return Ok(Block::End);
        }
        let block = &input.data()[..size];
        if self.order.u32(block, size - 4) as usize != size {
            return Err(Fault::Damaged("a block's two lengths disagree".into()));
        }
        let packet = match kind {
            PACKET => self.packet(block),
            SIMPLE_PACKET => self.simple_packet(block),
            OLD_PACKET => self.old_packet(block),
            SECTION => return self.section(block).map(|()| Block::Other(size)),
            INTERFACE => return self.interface(block).map(|()| Block::Other(size)),
            STATISTICS => {
                self.statistics(block);
                return Ok(Block::Other(size));
            }
            _ => return Ok(Block::Other(size)),
        };
        Ok(packet.map_or(Block::Malformed(size), Block::Packet))
    }

    fn section(&mut self, block: &[u8]) -> Result<(), Fault> {
        let (_, header) =
            parse_sectionheaderblock(block).map_err(|_| Fault::Damaged("a section header is malformed".into()))?;
        if header.major_version != 1 {
            let (major, minor) = (header.major_version, header.minor_version);
            return Err(Fault::Damaged(format!("a section is of pcapng version {major}.{minor}, expected 1.0")));
        }
        self.close_section();
        self.interfaces.clear();
        self.sections += 1;
        self.section_ended = false;
        let own = option(&header.options, SHB_USERAPPL).is_some_and(|name| name.starts_with(APPLICATION.as_bytes()));
        self.own += u64::from(own);
        Ok(())
    }

    /// Takes over what the section's interfaces dropped, once.
    fn close_section(&mut self) {
        for interface in &mut self.interfaces {
            let dropped = std::mem::take(&mut interface.dropped);
            if dropped == 0 {
                continue;
            }
            let name = interface.name.clone().unwrap_or_default();
            let name = if self.dropped.len() < DROPPED_MAX { name } else { String::new() };
            let sum = self.dropped.entry(name).or_default();
            *sum = sum.saturating_add(dropped);
        }
    }

    fn interface(&mut self, block: &[u8]) -> Result<(), Fault> {
        if self.interfaces.len() == INTERFACES_MAX {
            return Err(Fault::Damaged(format!("a section describes more than {INTERFACES_MAX} interfaces")));
        }
        let parse = match self.order {
            Order::Little => parse_interfacedescriptionblock_le,
            Order::Big => parse_interfacedescriptionblock_be,
        };
        // leaving it out would shift the numbers of all that follow
        let (_, described): (_, InterfaceDescriptionBlock<'_>) =
            parse(block).map_err(|_| Fault::Damaged("an interface description is malformed".into()))?;
        let options = &described.options;
        let name = option(options, IF_NAME).filter(|name| name.len() <= NAME_MAX);
        let unit = match option(options, IF_TSRESOL) {
            Some(&[tsresol]) => Unit::from_tsresol(tsresol),
            _ => Unit::MICROS,
        };
        self.interfaces.push(Interface {
            name: name.and_then(|name| std::str::from_utf8(name).ok()).map(|name| name.trim_end_matches('\0').into()),
            link: LinkType::from_number(described.linktype.0 as u16),
            number: described.linktype.0 as u16,
            snap_length: match described.snaplen {
                0 => usize::MAX,
                length => length as usize,
            },
            unit,
            offset: option(options, IF_TSOFFSET).and_then(|raw| self.order.u64(raw)).unwrap_or(0) as i64,
            dropped: 0,
        });
        Ok(())
    }

    fn statistics(&mut self, block: &[u8]) {
        let parse = match self.order {
            Order::Little => parse_interfacestatisticsblock_le,
            Order::Big => parse_interfacestatisticsblock_be,
        };
        let Ok((_, statistics)) = parse(block) else { return };
        let (order, options) = (self.order, &statistics.options);
        let own = self.is_own();
        let Some(interface) = self.interfaces.get_mut(statistics.if_id as usize) else { return };
        let count = |code| option(options, code).and_then(|raw| order.u64(raw)).unwrap_or(0);
        interface.dropped = count(ISB_IFDROP).saturating_add(count(ISB_OSDROP));
        if let Some(raw) = option(options, ISB_ENDTIME).filter(|raw| raw.len() == 8 && own) {
            let stamp = u64::from(order.u32(raw, 0)) << 32 | u64::from(order.u32(raw, 4));
            self.end = self.end.max(Some(interface.unit.nanos(stamp, interface.offset)));
            self.ended += u64::from(!self.section_ended);
            self.section_ended = true;
        }
    }

    #[inline]
    fn packet(&self, block: &[u8]) -> Option<Packet> {
        self.stamped(block, self.order.u32(block, 8))
    }

    /// Without a stamp and a captured length: the section's first interface says how much was kept.
    fn simple_packet(&self, block: &[u8]) -> Option<Packet> {
        let interface = self.interfaces.first()?;
        let length = self.order.u32(block, 8) as usize;
        let length = length.min(interface.snap_length).min(block.len().checked_sub(16)?);
        Some(Packet { link: interface.link, interface: 0, stamp: None, bytes: 12..12 + length, size: block.len() })
    }

    /// Obsolete, but still found: it has a 16-bit interface and a 16-bit drop count in front of what follows the interface in an
    /// enhanced packet.
    fn old_packet(&self, block: &[u8]) -> Option<Packet> {
        self.stamped(block, u32::from(self.order.u16(block, 8)))
    }

    /// A packet with a stamp and a captured length. Its options are ignored: nothing in them is needed, and errors in them do a
    /// packet no harm.
    #[inline]
    fn stamped(&self, block: &[u8], id: u32) -> Option<Packet> {
        let interface = self.interfaces.get(id as usize)?;
        let stamp = u64::from(self.order.u32(block, 12)) << 32 | u64::from(self.order.u32(block, 16));
        let bytes = 28..28 + self.order.u32(block, 20) as usize;
        (bytes.end <= block.len() - 4).then(|| Packet {
            link: interface.link,
            interface: id,
            stamp: Some(interface.unit.nanos(stamp, interface.offset)),
            bytes,
            size: block.len(),
        })
    }
}

/// The first value of an option, without its padding.
fn option<'a>(options: &'a [PcapNGOption<'_>], code: u16) -> Option<&'a [u8]> {
    options
        .iter()
        .take_while(|option| option.code != OptionCode::EndOfOpt)
        .find(|option| option.code.0 == code)
        .and_then(|option| option.value.get(..usize::from(option.len)))
}
