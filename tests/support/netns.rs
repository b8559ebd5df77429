//! Test beds of two network namespaces, a publisher's and a receiver's (`scripts/netns`): root and `ip` are needed.

use std::net::SocketAddrV4;
use std::process::{self, Command, Output};
use std::{io, thread};

use twinline_node::config::Feed;
use twinline_node::os::{self, HostInterface, ReceiveOptions, SendOptions, Sender};
use twinline_node::source::{Live, LiveWatch};

use super::{number_of_its_own, wait_for};

/// A test bed of its own, removed at the end, however that comes.
pub struct Bed {
    pub prefix: String,
}

impl Bed {
    /// Makes it; that it can be made is what [`Need::Namespaces`](super::trials::Need) stands for.
    pub fn up(name: &str) -> Bed {
        let bed = Bed { prefix: format!("tw{}-{}{name}", process::id(), number_of_its_own()) };
        bed.run(&["up"]);
        bed
    }

    pub fn run(&self, arguments: &[&str]) {
        let done = self.script(arguments).unwrap();
        assert!(done.status.success(), "netns {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn script(&self, arguments: &[&str]) -> io::Result<Output> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/netns");
        Command::new(script).args(["-p", &self.prefix]).args(arguments).output()
    }

    /// Does something on one side: sockets belong to the namespace in which they were opened, and so does a list of
    /// interfaces.
    pub fn on<T: Send>(&self, side: &str, what: impl FnOnce() -> T + Send) -> T {
        let name = format!("{}-{side}", self.prefix);
        thread::scope(|scope| {
            let there = scope.spawn(move || {
                os::enter_namespace(&name).unwrap();
                what()
            });
            there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// `ip` on one side.
    #[track_caller]
    pub fn ip(&self, side: &str, arguments: &str) {
        let all = format!("-n {}-{side} {arguments}", self.prefix);
        assert!(Command::new("ip").args(all.split(' ')).status().unwrap().success(), "ip {all}");
    }

    /// Makes line A's interfaces, with more words of how than `nic a create` has.
    #[track_caller]
    pub fn create_a(&self, ours: &str, theirs: &str) {
        let there = format!("{}-pub", self.prefix);
        self.ip("recv", format!("link add a0 {ours}type veth peer name a0 netns {there} {theirs}").trim_end());
        for (side, address) in [("pub", "10.81.1.1/24"), ("recv", "10.81.1.2/24")] {
            self.ip(side, &format!("addr add {address} dev a0"));
            self.ip(side, "link set a0 up");
        }
    }

    /// Index of the receiver's interface.
    pub fn index(&self, interface: &str) -> u32 {
        self.on("recv", || HostInterface::resolve(interface).unwrap().expect(interface).index)
    }

    pub fn sender(&self, side: &str, interface: &str, to: SocketAddrV4) -> Sender {
        self.on(side, || Sender::open(to, interface, SendOptions::default()).unwrap())
    }

    /// Sockets on one side.
    pub fn live(&self, side: &str, feed: &Feed) -> (Live, LiveWatch) {
        self.on(side, || Live::open(feed, &ReceiveOptions::default()).unwrap())
    }

    /// What a check says on the receiver's side, in words.
    pub fn notices(&self, watch: &mut LiveWatch) -> Vec<String> {
        self.on("recv", || watch.check().unwrap().iter().map(ToString::to_string).collect())
    }

    /// Checks until there is something to say.
    #[track_caller]
    pub fn next_notices(&self, watch: &mut LiveWatch) -> Vec<String> {
        let mut notices = Vec::new();
        wait_for("a notice", || {
            notices = self.notices(watch);
            !notices.is_empty()
        });
        notices
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.script(&["down"]);
    }
}
