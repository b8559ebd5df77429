//! Compares copies of a message with the first one, byte for byte as far as a CRC-32 can tell (ARBITRATION 7.4).
//!
//! For each chosen number, the CRC-32 of the first copy is kept while the number is among the last 65,536 (`status`), and every
//! later copy is compared with it. Two messages with the same CRC-32 count as equal. The choice depends on the number alone, so
//! every line's copy of it is compared, and the same ones in every run.

use super::channel::Channel;
use super::event::{EventKind, Sink};
use super::settings::Settings;
use super::stream::{Out, Part};

impl Channel {
    /// Compares the copies in `part` with the first ones, and keeps the hashes of those that are the first. Must be called before
    /// anything else records that `part` arrived.
    #[inline(never)]
    pub(super) fn verify<S: Sink>(&mut self, settings: &Settings, part: &Part<'_>, out: &mut Out<'_, S>) {
        let numbers = (0..u64::from(part.count)).map(|i| part.first + i);
        if !numbers.clone().any(|n| settings.verify.chooses(n)) {
            return;
        }
        for (n, message) in numbers.zip(part.packing.messages(part.body)) {
            if !settings.verify.chooses(n) {
                continue;
            }
            let other_hash = crc32fast::hash(message);
            let Some((line, hash)) = self.status.first_hash(n, self.stream.mark, other_hash) else { continue };
            if hash != other_hash {
                self.lines[part.line.index()].counts.divergent += 1;
                let other = part.line;
                out.event(EventKind::Divergence { number: n, line, other, hash, other_hash });
            }
        }
    }
}
