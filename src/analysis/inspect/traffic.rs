//! How a flow's datagrams come, whatever is in them: how many, how large, how fast, by which VLANs.

use super::packets::Tags;
use twinline_core::Nanos;

const SECOND_NS: u64 = 1_000_000_000;
/// How many VLAN ids of a flow are listed.
const VLANS_MAX: usize = 8;

/// A flow's datagrams, counted in a fixed size.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    /// How many datagrams.
    pub(crate) datagrams: u64,
    /// Their payload in bytes.
    pub(crate) bytes: u64,
    /// The stamp of the first one.
    pub(crate) first: Nanos,
    /// The largest stamp.
    pub(crate) last: Nanos,
    /// The most datagrams within one second of the clock, and the most bytes.
    pub(crate) peak: (u64, u64),
    second: u64,
    in_second: (u64, u64),
    /// The smallest and the largest payload in bytes.
    pub(crate) size: (u32, u32),
    sizes: Box<[u32]>,
    vlans: [u16; VLANS_MAX],
    vlan_count: u8,
    /// Whether some came without a VLAN tag although others had one.
    pub(crate) untagged: bool,
    /// Whether there were more VLAN ids than are listed.
    pub(crate) more_vlans: bool,
}

/// Sizes are counted one by one up to here; above, the steps grow.
const FINE: u32 = 256;

/// Where a size is counted: to 1 byte below 256, to 4 below 1,280, to 16 below 2,048, to 512 above.
fn bucket(size: u32) -> usize {
    (match size {
        0..FINE => size,
        FINE..1_280 => FINE + (size - FINE) / 4,
        1_280..2_048 => 512 + (size - 1_280) / 16,
        _ => 560 + (size - 2_048).min(63_487) / 512,
    }) as usize
}

/// The smallest size that is counted there.
fn smallest(bucket: usize) -> u32 {
    let bucket = bucket as u32;
    match bucket {
        0..FINE => bucket,
        FINE..512 => FINE + (bucket - FINE) * 4,
        512..560 => 1_280 + (bucket - 512) * 16,
        _ => 2_048 + (bucket - 560) * 512,
    }
}

const BUCKETS: usize = 560 + 124;

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic {
            datagrams: 0,
            bytes: 0,
            first: Nanos::MAX,
            last: Nanos::ZERO,
            peak: (0, 0),
            second: 0,
            in_second: (0, 0),
            size: (u32::MAX, 0),
            sizes: vec![0; BUCKETS].into_boxed_slice(),
            vlans: [0; VLANS_MAX],
            vlan_count: 0,
            untagged: false,
            more_vlans: false,
        }
    }
}

impl Traffic {
    /// Counts a datagram.
    #[inline]
    pub(crate) fn on_datagram(&mut self, stamp: Nanos, tags: &Tags, payload: &[u8]) {
        let size = payload.len() as u32;
        self.datagrams += 1;
        self.bytes += u64::from(size);
        self.first = self.first.min(stamp);
        self.last = self.last.max(stamp);
        self.size = (self.size.0.min(size), self.size.1.max(size));
        self.sizes[bucket(size)] += 1;
        let second = stamp.0 / SECOND_NS;
        if second != self.second {
            (self.second, self.in_second) = (second, (0, 0));
        }
        self.in_second = (self.in_second.0 + 1, self.in_second.1 + u64::from(size));
        self.peak = (self.peak.0.max(self.in_second.0), self.peak.1.max(self.in_second.1));
        if tags.count == 0 {
            self.untagged = true;
        } else {
            self.tag(tags);
        }
    }

    fn tag(&mut self, tags: &Tags) {
        for &id in tags.ids() {
            if self.vlans().contains(&id) {
                continue;
            }
            match self.vlans.get_mut(usize::from(self.vlan_count)) {
                Some(place) => {
                    *place = id;
                    self.vlan_count += 1;
                }
                None => self.more_vlans = true,
            }
        }
    }

    /// The VLAN ids, in the order in which they first came.
    pub(crate) fn vlans(&self) -> &[u16] {
        &self.vlans[..usize::from(self.vlan_count)]
    }

    /// How long it went on.
    pub(crate) fn span(&self) -> Nanos {
        self.last - self.first
    }

    /// Datagrams per second over its span; `None` if the span is zero.
    pub(crate) fn mean_rate(&self) -> Option<f64> {
        let seconds = self.span().0 as f64 / SECOND_NS as f64;
        (seconds > 0.0).then(|| self.datagrams as f64 / seconds)
    }

    /// The median size, rounded down as sizes are counted: exact below 256 bytes, to 4 below 1,280, to 16 below 2,048.
    pub(crate) fn median_size(&self) -> u32 {
        let (mut seen, half) = (0, self.datagrams.div_ceil(2));
        for (at, &count) in self.sizes.iter().enumerate() {
            seen += u64::from(count);
            if seen >= half && seen > 0 {
                return smallest(at).clamp(self.size.0, self.size.1);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_where_they_belong() {
        for size in 0..=65_535 {
            let at = bucket(size);
            assert!(at < BUCKETS && smallest(at) <= size, "{size} in {at} from {}", smallest(at));
            assert!(at + 1 == BUCKETS || smallest(at + 1) > size, "{size}");
        }
    }

    #[test]
    fn rates_and_sizes_are_those_of_the_datagrams() {
        let mut traffic = Traffic::default();
        let tags = Tags { ids: [905, 0], count: 1 };
        for (stamp, size) in [(1_500, 10), (1_600, 30), (1_700, 20), (2_100, 400), (3_500, 5)] {
            traffic.on_datagram(Nanos::from_millis(stamp), &tags, &vec![0; size]);
        }
        assert_eq!((traffic.datagrams, traffic.bytes, traffic.peak), (5, 465, (3, 400)));
        assert_eq!((traffic.size, traffic.median_size()), ((5, 400), 20));
        assert_eq!(traffic.mean_rate(), Some(2.5));
        assert_eq!((traffic.vlans(), traffic.untagged), ([905].as_slice(), false));
        assert_eq!(Traffic::default().median_size(), 0);
    }
}
