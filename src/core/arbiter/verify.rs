//! Whether copies are what they should be: byte for byte the first one (ARBITRATION 7.4).
//!
//! Of each number that is chosen a CRC-32 of the first copy is kept, as long as the number is among the last 65,536 (`status`), and
//! every later copy is held against it. Two messages with the same CRC-32 count as equal. What is chosen follows from the number
//! alone, so that every line's copy of it is compared, in every run alike.

use super::channel::Channel;
use super::event::{EventKind, Sink};
use super::settings::Settings;
use super::stream::{Out, Part};

impl Channel {
    /// Holds the copies in `part` against the first ones, and keeps what no line has brought before. The numbers' standing is as it
    /// was before `part` came.
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
