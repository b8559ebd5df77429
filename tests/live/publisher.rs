//! The sender over the loopback interface and over a wire that fails.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use twinline_core::frame::{Line, Session};
use twinline_core::framing::{Framing, MoldUdp64};
use twinline_node::os::{Clock, Stop};
use twinline_node::publisher::{LinePlan, MadeUp, Plan, PlanConfig, Rate, SendingError, send};
use twinline_node::wire::{UdpWire, Wire};

use crate::support::{PATIENCE, feed};

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
    assert!(matches!(result, Err(SendingError::Wire { line: Line(1), group: 0, .. })));
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
    let to = feed::group();
    let socket = UdpSocket::bind(to).unwrap();
    socket.join_multicast_v4(to.ip(), &Ipv4Addr::LOCALHOST).unwrap();
    socket.set_read_timeout(Some(Duration::from_nanos(PATIENCE.0))).unwrap();
    let line = feed::line("A", "127.0.0.1", &[to]).with_source(Some(Ipv4Addr::LOCALHOST));
    let mut wire = UdpWire::open(&feed::of(std::slice::from_ref(&line))).unwrap();
    // no pack leaves before it is full, however slow this machine is
    let pack_wait = twinline_core::Nanos::from_secs(60);
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

    let nowhere = line.with_source(Some(Ipv4Addr::new(203, 0, 113, 1)));
    let error = UdpWire::open(&feed::of(&[nowhere])).unwrap_err().to_string();
    assert!(error.starts_with(&format!("line A: {to} on 127.0.0.1: cannot send from that address: ")), "{error}");
}
