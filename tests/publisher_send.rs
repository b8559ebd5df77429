//! The sender over the loopback interface and over a wire that fails, and real messages from a file.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;

use twinline::config::{ArbiterConfig, Feed, LineConfig};
use twinline::frame::{Line, Session};
use twinline::framing::{Framing, MoldUdp64};
use twinline::os::clock::Clock;
use twinline::os::signal::Stop;
use twinline::publisher::binary_file::BinaryFile;
use twinline::publisher::made_up::MadeUp;
use twinline::publisher::messages::MessageSource;
use twinline::publisher::plan::{LinePlan, Plan, PlanConfig, Rate};
use twinline::publisher::send::{PublishError, send};
use twinline::wire::{UdpWire, Wire};

fn config(rate: Rate) -> PlanConfig {
    let lines = vec![LinePlan::packing(1, 10), LinePlan::packing(1, 4)];
    PlanConfig { session: Session::text(b"TWIN000001"), rate, lines, end_copies: 1, ..PlanConfig::default() }
}

/// Keeps what is sent; each line may fail from some datagram on, up to another.
#[derive(Default)]
struct Kept {
    sent: Vec<(Line, Vec<u8>)>,
    fails: Option<(Line, std::ops::Range<usize>, i32)>,
    calls: usize,
}

impl Wire for Kept {
    fn send(&mut self, line: Line, _: u16, datagram: &[u8]) -> io::Result<()> {
        if let Some((failing, calls, error)) = &self.fails
            && line == *failing
        {
            self.calls += 1;
            if calls.contains(&(self.calls - 1)) {
                return Err(io::Error::from_raw_os_error(*error));
            }
        }
        self.sent.push((line, datagram.to_vec()));
        Ok(())
    }
}

#[test]
fn all_that_is_planned_is_sent_and_reported() {
    let rate = Rate::per_second(200_000.0, 8).unwrap();
    let mut plan = Plan::new(MoldUdp64, config(rate), MadeUp::new(Some(2_000), None, 1)).unwrap();
    let mut wire = Kept::default();
    let (report, result) = send(&mut plan, &mut wire, Clock::start(), &Stop::new(), |_| ());
    result.unwrap();
    assert_eq!(report.messages, 2_000);
    for line in 0..2 {
        let sent = wire.sent.iter().filter(|(l, _)| l.index() == line);
        assert_eq!(report.lines[line].datagrams, sent.clone().count() as u64);
        assert_eq!(report.lines[line].bytes, sent.map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
        assert_eq!(report.lines[line].messages, 2_000);
    }
    assert_eq!((report.truth.numbers(), report.truth.lost()), (2_000, 0));
    assert_eq!(report.lateness.len(), wire.sent.len() as u64);
    assert!(report.elapsed.0 >= 1_992 * 5_000, "{} is before the last due time", report.elapsed);
}

#[test]
fn a_line_that_goes_away_is_counted_and_comes_back() {
    let mut plan = Plan::new(MoldUdp64, config(Rate::Max), MadeUp::new(Some(2_000), None, 1)).unwrap();
    let mut wire = Kept { fails: Some((Line(1), 100..200, libc::ENETUNREACH)), ..Kept::default() };
    let (report, result) = send(&mut plan, &mut wire, Clock::start(), &Stop::new(), |_| ());
    result.unwrap();
    assert_eq!((report.lines[0].errors, report.lines[1].errors), (0, 100));
    assert_eq!(report.lines[1].messages + report.truth.lost_on(Line(1)), 2_000);
    assert!(report.truth.lost_on(Line(1)) >= 100 && report.truth.lost() == 0);
    assert!(report.lines[1].last_error.as_ref().unwrap().contains("unreachable"));
}

#[test]
fn what_cannot_pass_ends_it_by_name() {
    let mut plan = Plan::new(MoldUdp64, config(Rate::Max), MadeUp::new(Some(2_000), None, 1)).unwrap();
    let mut wire = Kept { fails: Some((Line(1), 5..6, libc::EBADF)), ..Kept::default() };
    let (report, result) = send(&mut plan, &mut wire, Clock::start(), &Stop::new(), |_| ());
    assert!(matches!(result, Err(PublishError::Wire { line: Line(1), group: 0, .. })));
    assert_eq!(report.lines[1].datagrams, 5);
}

/// Asks for a stop after so many sends.
struct Stopping(Kept, usize, Stop);

impl Wire for Stopping {
    fn send(&mut self, line: Line, group: u16, datagram: &[u8]) -> io::Result<()> {
        if self.0.sent.len() == self.1 {
            self.2.request();
        }
        self.0.send(line, group, datagram)
    }
}

#[test]
fn a_stop_ends_the_session_first() {
    let rate = Rate::per_second(500.0, 1).unwrap();
    let stop = Stop::new();
    let mut plan = Plan::new(MoldUdp64, config(rate), MadeUp::new(None, None, 1)).unwrap();
    let mut wire = Stopping(Kept::default(), 10, stop.clone());
    let (report, result) = send(&mut plan, &mut wire, Clock::start(), &stop, |_| ());
    result.unwrap();
    assert!(report.stopped && report.truth.unsettled() == 0 && report.truth.lost() == 0);
    let mut end = Vec::new();
    assert!(MoldUdp64.encode_end(Session::text(b"TWIN000001"), report.messages + 1, &mut end));
    for line in [0, 1] {
        let last = wire.0.sent.iter().rfind(|(l, _)| l.0 == line).unwrap();
        assert_eq!(last.1, end);
    }
}

#[test]
fn datagrams_arrive_over_loopback_multicast() {
    let (group, port) = (Ipv4Addr::new(239, 81, 7, 41), 26_741);
    let socket = UdpSocket::bind(SocketAddrV4::new(group, port)).unwrap();
    socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let line = LineConfig {
        name: "A".into(),
        groups: vec![SocketAddrV4::new(group, port)],
        interface: "127.0.0.1".into(),
        source: Some(Ipv4Addr::LOCALHOST),
        wait: true,
    };
    let feed = |line| Feed {
        name: "test".into(),
        framing: MoldUdp64.into(),
        fixed: None,
        units: Vec::new(),
        lines: vec![line],
        arbiter: ArbiterConfig::default(),
        receive: Default::default(),
    };
    let mut wire = UdpWire::open(&feed(line.clone())).unwrap();
    // no pack leaves before it is full, however slow this machine is
    let pack_wait = twinline::time::Nanos::from_secs(60);
    let config = PlanConfig { lines: vec![LinePlan::packing(5, 5)], pack_wait, ..config(Rate::Max) };
    let mut plan = Plan::new(MoldUdp64, config, MadeUp::new(Some(100), None, 1)).unwrap();
    let (report, result) = send(&mut plan, &mut wire, Clock::start(), &Stop::new(), |_| ());
    result.unwrap();
    assert_eq!(report.lines[0].datagrams, 21);
    let mut next = 1;
    let mut buffer = [0; 2_048];
    for _ in 0..21 {
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from.ip(), Ipv4Addr::LOCALHOST);
        let frame = MoldUdp64.frame(&buffer[..len], &mut 0).unwrap().unwrap();
        assert_eq!(frame.sequence, next);
        for message in frame.packing.messages(frame.body).take(frame.count as usize) {
            assert_eq!(MadeUp::check(message), Some(next - 1));
            next += 1;
        }
    }
    assert_eq!(next, 101);

    let nowhere = LineConfig { source: Some(Ipv4Addr::new(203, 0, 113, 1)), ..line };
    let error = UdpWire::open(&feed(nowhere)).unwrap_err().to_string();
    assert!(error.starts_with("line A: 239.81.7.41:26741 on 127.0.0.1: cannot send from that address: "), "{error}");
}

#[test]
fn nasdaq_s_test_file_is_stepped_by_message_type() {
    let Some(captures) = std::env::var_os("TWINLINE_CAPTURES") else {
        eprintln!("skipped: TWINLINE_CAPTURES is not set");
        return;
    };
    let mut file = BinaryFile::open(&Path::new(&captures).join("itch/ex20101224.TEST_ITCH_50.gz")).unwrap();
    let (mut message, mut kinds) = (Vec::new(), std::collections::BTreeMap::new());
    while file.next(&mut message).unwrap().is_some() {
        *kinds.entry(char::from(message[0])).or_insert(0) += 1;
    }
    assert_eq!(file.warning(), None);
    assert_eq!(kinds.values().sum::<i32>(), 12_012, "{kinds:?}");
}
