//! The gaps that `--json` lists, as a report takes them.

use super::output::{Fate, GapLog};
use twinline_analysis::report::gaps::{ClosedGap, GapFate, ListedGaps};
use twinline_core::arbiter::ChannelRef;
use twinline_core::frame::ChannelKey;

impl ListedGaps for GapLog {
    fn of(&self, channel: ChannelKey) -> impl Iterator<Item = ClosedGap> {
        let log = self.channel(channel);
        log.into_iter().flat_map(|log| &log.gaps).map(move |gap| ClosedGap {
            // a report looks the channel up by its key, and names it so
            channel: ChannelRef { index: 0, key: channel },
            session: gap.session,
            range: gap.range,
            opened_by: gap.opened_by,
            opened_at: gap.opened_at,
            closed_at: gap.closed_at,
            fate: match gap.fate {
                Fate::Filled(line) => GapFate::Filled(line),
                Fate::Lost(reason) => GapFate::Lost(reason),
            },
        })
    }

    fn omitted(&self) -> u64 {
        GapLog::omitted(self)
    }
}
