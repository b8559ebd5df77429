//! What is to be measured: the arguments, checked against the feed and the machine.

use std::collections::BTreeSet;

use anyhow::anyhow;

use super::{Args, sent_on};
use crate::Failure;
use twinline_analysis::latency::{Arrangement, Load, PassSpec};
use twinline_core::Nanos;
use twinline_core::framing::AnyFraming;
use twinline_node::config::{Feed, Method};
use twinline_node::fault::Faults;
use twinline_node::os::{self, PinError, Spin};
use twinline_node::publisher::{LinePlan, PerLine};

/// Which thread runs on which core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Layout {
    /// Only the ratio to the bare receive loop: one thread publishes and reads, the arbiter has the other core
    TwoCore,
    /// Open loop: publisher, arbiter and client, one core each
    Spread,
    /// Open loop: one thread publishes and reads, the arbiter has the other core
    Paired,
}

/// What is to be measured.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) feed: Feed,
    pub(super) to: Feed,
    pub(super) namespace: Option<String>,
    pub(super) arrangement: Arrangement,
    pub(super) warm_up: Nanos,
    pub(super) span: Nanos,
    pub(super) lines: Vec<LinePlan>,
    pub(super) pack: u32,
    pub(super) seed: u64,
    /// The receive methods, in the order in which they are measured.
    pub(super) methods: Vec<Method>,
    layout: Option<Layout>,
    passes: Vec<PassSpec>,
    cores: Vec<usize>,
}

impl Setup {
    pub(super) fn new(args: &Args, feed: Feed, framing: AnyFraming) -> Result<Setup, Failure> {
        let to = sent_on(&feed, args.to.as_deref())?;
        let cores = chosen(args.cores.as_deref(), feed.receive.core, &os::usable_cores())?;
        if args.layout == Some(Layout::Spread) && cores.len() < 3 {
            return Err(Failure::usage(anyhow!(
                "--layout spread needs 3 cores and there are {}: use --layout paired, or leave --layout out",
                cores.len()
            )));
        }
        if args.pack > 1 && framing.packet_sequenced() {
            let name = framing.name();
            return Err(Failure::usage(anyhow!("--pack: {name} numbers packets, so a datagram holds one message")));
        }
        let names: Vec<&str> = feed.lines.iter().map(|line| line.name.as_str()).collect();
        let loss = per_line("--loss", args.loss.as_ref(), &names)?;
        let delay = per_line("--delay", args.delay.as_ref(), &names)?;
        let lines = loss.into_iter().zip(delay).map(|(loss, delay)| LinePlan {
            faults: Faults { loss: loss.unwrap_or_default(), delay: delay.unwrap_or_default(), ..Faults::default() },
            ..LinePlan::packing(args.pack, args.pack)
        });
        let passes = args.rates.iter().flat_map(|&micro_rate| {
            let load = move |&size| Load { micro_rate, burst: args.burst, size };
            args.size.iter().map(load)
        });
        let stamps = if args.stamps { [false, true].as_slice() } else { &[false] };
        let methods = if args.receive.is_empty() { vec![feed.receive.method] } else { args.receive.clone() };
        let ways = methods.iter().flat_map(|&method| stamps.iter().map(move |&stamps| (method, stamps)));
        let passes =
            passes.flat_map(|load| ways.clone().map(move |(method, stamps)| PassSpec { load, method, stamps }));
        let passes = passes.collect();
        Ok(Setup {
            namespace: args.publish_netns.clone(),
            arrangement: arrangement(args.layout, &cores),
            warm_up: args.warmup,
            span: args.seconds,
            lines: lines.collect(),
            pack: args.pack,
            seed: args.seed,
            layout: args.layout,
            passes,
            methods,
            cores,
            feed,
            to,
        })
    }

    /// The line of text that says what is about to be measured, and where.
    pub(super) fn beginning(&self, framing: AnyFraming) -> String {
        let (feed, to) = (&self.feed, &self.to);
        let way = if feed == to { String::new() } else { format!(", sent on {}", to.name) };
        let from = self.namespace.as_ref().map_or(String::new(), |name| format!(" from the namespace {name}"));
        let methods = self.methods.iter().map(|method| method.name()).collect::<Vec<_>>().join(", ");
        let mut out = format!("feed {} ({}){way}{from}; received by {methods}\n", feed.name, framing.name());
        if feed.lines.first().is_some_and(|line| line.groups.len() > 1) {
            out += "only the first group of each line is sent on\n";
        }
        out
    }

    /// Whether the ratio to the bare loop is measured. By default it is if there are two cores for it.
    pub(super) fn measures_ratio(&self) -> bool {
        match self.layout {
            Some(layout) => layout == Layout::TwoCore,
            None => self.cores.len() > 1,
        }
    }

    /// The open-loop passes.
    pub(super) fn passes(&self) -> Vec<PassSpec> {
        if self.layout == Some(Layout::TwoCore) { Vec::new() } else { self.passes.clone() }
    }

    /// The cores of the ratio's two threads, the publisher's first, and what they do while idle.
    pub(super) fn two_cores(&self) -> (Option<usize>, Option<usize>, Spin) {
        let Arrangement { publisher, arbiter, .. } = arrangement(Some(Layout::TwoCore), &self.cores);
        (publisher, arbiter, Spin::for_threads(2, self.cores.len()))
    }

    /// The cores of busy threads.
    pub(super) fn cores(&self) -> Vec<usize> {
        let Arrangement { publisher, arbiter, client, .. } = self.arrangement;
        let cores: BTreeSet<usize> = [publisher, arbiter, client].into_iter().flatten().collect();
        cores.into_iter().collect()
    }

    /// The interfaces of this namespace.
    pub(super) fn interfaces(&self) -> Vec<String> {
        let to = if self.namespace.is_none() { self.to.lines.as_slice() } else { &[] };
        self.feed.lines.iter().chain(to).map(|line| line.interface.clone()).collect()
    }

    /// The receive buffer to ask for.
    pub(super) fn buffer(&self) -> usize {
        usize::try_from(self.feed.receive.buffer).unwrap_or(usize::MAX)
    }
}

/// The cores to measure on, the arbiter's the second.
fn chosen(given: Option<&[usize]>, of_feed: Option<usize>, usable: &[usize]) -> Result<Vec<usize>, Failure> {
    if let Some(given) = given {
        if let Some(&core) = given.iter().find(|core| !usable.contains(core)) {
            let error = PinError::NoSuchCore { core, usable: usable.to_vec() };
            return Err(Failure::usage(anyhow!("--cores: {error}")));
        }
        if given.len() > 3 || (1..given.len()).any(|at| given[..at].contains(&given[at])) {
            return Err(Failure::usage(anyhow!(
                "--cores: expected one to three different cores, the publisher's, the arbiter's and the client's; for example \
                 0,1,2"
            )));
        }
        return Ok(given.to_vec());
    }
    let mut cores: Vec<usize> = usable.to_vec();
    // the arbiter has the core that the feed file gives it
    if let Some(at) = of_feed.and_then(|core| cores.iter().position(|one| *one == core))
        && cores.len() > 1
    {
        let core = cores.remove(at);
        cores.insert(1, core);
    }
    cores.truncate(3);
    Ok(cores)
}

fn arrangement(layout: Option<Layout>, cores: &[usize]) -> Arrangement {
    let paired = layout.map_or(cores.len() < 3, |layout| layout != Layout::Spread);
    let core = |n: usize| cores.get(n).or(cores.last()).copied();
    Arrangement {
        publisher: core(0),
        arbiter: core(1),
        client: if paired { core(0) } else { core(2) },
        paired,
        spin: Spin::for_threads(if paired { 2 } else { 3 }, cores.len()),
    }
}

fn per_line<T: Clone>(argument: &str, given: Option<&PerLine<T>>, lines: &[&str]) -> Result<Vec<Option<T>>, Failure> {
    let values = given.map_or_else(|| Ok(vec![None; lines.len()]), |given| given.one(lines));
    values.map_err(|error| Failure::usage(anyhow!("{argument}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_get_the_cores_that_there_are() {
        let on = |layout, cores: &[usize]| {
            let Arrangement { publisher, arbiter, client, paired, spin } = arrangement(layout, cores);
            ([publisher, arbiter, client].map(Option::unwrap), paired, spin.shared())
        };
        assert_eq!(on(None, &[4, 5, 6]), ([4, 5, 6], false, false));
        assert_eq!(on(None, &[0, 1]), ([0, 1, 0], true, false));
        assert_eq!(on(None, &[3]), ([3, 3, 3], true, true));
        assert_eq!(on(Some(Layout::TwoCore), &[4, 5, 6]), ([4, 5, 4], true, false));
        assert_eq!(on(Some(Layout::Paired), &[4, 5, 6]), ([4, 5, 4], true, false));
    }

    #[test]
    fn cores_are_the_users_then_the_feeds() {
        let cores = |given: Option<&[usize]>, of_feed| chosen(given, of_feed, &[0, 1, 2, 3]);
        let fine = |given, of_feed| cores(given, of_feed).unwrap();
        assert_eq!(fine(None, None), [0, 1, 2]);
        assert_eq!(fine(None, Some(3)), [0, 3, 1]);
        assert_eq!(fine(None, Some(9)), [0, 1, 2], "`check` reports a core that does not exist");
        assert_eq!(fine(Some(&[3, 2]), Some(1)), [3, 2]);
        for (given, words) in
            [(&[7][..], "there is no core 7"), (&[1, 1], "different"), (&[0, 1, 2, 3], "one to three")]
        {
            let failure = cores(Some(given), None).unwrap_err();
            assert!(failure.error.to_string().contains(words), "{}", failure.error);
        }
    }
}
