//! What an arbiter says, kept.

use twinline_core::arbiter::{Event, EventKind, Run, Sink};

/// The ordered output, message by message, and how many events told of a loss.
#[derive(Default)]
pub struct Messages {
    pub all: Vec<Vec<u8>>,
    pub losses: u64,
}

impl Sink for Messages {
    fn event(&mut self, event: &Event) {
        self.losses += u64::from(matches!(event.kind, EventKind::Lost { .. }));
    }

    fn release(&mut self, run: &Run<'_>) {
        self.all.extend(run.messages().take(run.count as usize).map(<[u8]>::to_vec));
    }
}

/// How many messages came, and nothing of them.
#[derive(Default)]
pub struct Count(pub u64);

impl Sink for Count {
    fn event(&mut self, _: &Event) {}

    fn release(&mut self, run: &Run<'_>) {
        self.0 += u64::from(run.count);
    }
}
