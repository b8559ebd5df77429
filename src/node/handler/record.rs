//! The live loop without arbitration.

use std::io;

use super::{Ended, Pacer, Surroundings};
use crate::source::Source;
use twinline_core::arbiter::{Arbiter, GapTimeout, Settings};
use twinline_core::time::Nanos;

/// The shortest time that an automatic gap timeout may come to (ARBITRATION 5.4): how the lines lead is not known here.
const GAP_TIMEOUT_MIN: Nanos = Nanos::from_micros(200);

/// Hands everything that comes to the surroundings' tap, with the stamps that [`live`](super::live) would give to an arbiter
/// with these settings: what is recorded so can be arbitrated later, and nothing is lost then because the recorder was held
/// up.
///
/// # Errors
/// The source's. The surroundings have been told then where the input ended.
pub fn record(settings: Settings, source: &mut impl Source, around: &mut impl Surroundings) -> io::Result<Ended> {
    let quarter = match settings.gap_timeout {
        GapTimeout::Auto => Nanos(GAP_TIMEOUT_MIN.0 / 4),
        GapTimeout::After(span) => Nanos(span.0 / 4),
    };
    // it is given nothing: the surroundings ask it for counters
    let arbiter = Arbiter::new(settings);
    let mut pacer = Pacer::new();
    let mut last: Option<Nanos> = None;
    let outcome = loop {
        let reading = around.now();
        let stamp = pacer.stamp(reading, quarter);
        let pass = source.poll(&mut |datagram| {
            let stamp = datagram.stamp.unwrap_or(stamp);
            last = last.max(Some(stamp));
            around.tap(stamp, &datagram);
        });
        let pass = match pass {
            Ok(pass) => pass,
            Err(error) => break Err(error),
        };
        pacer.after(pass.datagrams, pass.full, reading);
        if pass.datagrams == 0 && !pass.full {
            match &mut last {
                Some(last) => *last = (*last).max(reading),
                None => pacer = Pacer::new(),
            }
            around.idle();
        }
        if pass.ended || !around.goes_on(&arbiter, pass.datagrams) {
            break Ok(());
        }
    };
    around.ending(last);
    outcome.map(|()| Ended { at: last })
}
