//! Live sockets on two "NICs": veth pairs between a publisher's and a receiver's network namespace (`scripts/netns`).

use twinline_node::config::LineConfig;
use twinline_node::os::{SendTrouble, Sender, SenderState};
use twinline_node::source::{InterfaceState, Live, Source};

use crate::support::feed;
use crate::support::netns::Bed;
use crate::support::trials::{Test, tests};
use crate::support::wait_for;

pub const TESTS: &[Test] = tests![
    a_link_that_goes_down_and_comes_up_is_heard_again,
    an_interface_that_is_deleted_and_created_again_is_joined_again,
    a_line_whose_interface_is_missing_at_the_start_is_joined_when_it_appears,
    two_lines_with_the_same_group_and_port_hear_each_its_own_interface,
];

fn line(name: &str, group: &str) -> LineConfig {
    feed::line(name, &format!("{}0", name.to_lowercase()), &[group])
}

fn sender(bed: &Bed, line: &LineConfig) -> Sender {
    bed.sender("pub", &line.interface, line.groups[0])
}

/// Sends until the other side hears it: what was sent before the link settled may be lost.
fn heard(sender: &mut Sender, live: &mut Live, payload: &[u8]) {
    let mut heard = false;
    wait_for(&format!("{payload:?} by {}", sender.to()), || {
        let _ = sender.send(payload).unwrap();
        live.poll(&mut |d| heard |= d.payload == payload).unwrap();
        heard
    });
}

fn drain(live: &mut Live) {
    while live.poll(&mut |_| ()).unwrap().datagrams > 0 {}
}

fn a_link_that_goes_down_and_comes_up_is_heard_again() {
    let bed = Bed::up("link");
    let lines = [line("A", "239.81.1.1:26400"), line("B", "239.81.2.1:26400")];
    let (mut live, mut watch) = bed.live("recv", &feed::of(&lines));
    let [mut a, mut b] = [sender(&bed, &lines[0]), sender(&bed, &lines[1])];
    heard(&mut a, &mut live, b"a before");
    heard(&mut b, &mut live, b"b before");
    bed.notices(&mut watch);

    bed.run(&["link", "a", "down"]);
    assert_eq!(bed.next_notices(&mut watch), ["line A: interface a0 is down"]);
    assert_eq!(watch.facts()[0].interface, InterfaceState::Down);
    assert_eq!(a.send(b"into the void").unwrap(), Some(SendTrouble::Unreachable));
    assert_eq!(bed.on("pub", || a.check().unwrap()), SenderState::Same);
    heard(&mut b, &mut live, b"b meanwhile");

    bed.run(&["link", "a", "up"]);
    assert_eq!(bed.next_notices(&mut watch), ["line A: interface a0 is up"]);
    heard(&mut a, &mut live, b"a after");
    assert_eq!(a.facts().unreachable, 1);
    assert_eq!(watch.facts()[0].gone, 0);

    // a publisher that starts while its link is down
    bed.run(&["link", "b", "down"]);
    let mut late = sender(&bed, &lines[1]);
    assert_eq!(late.send(b"too early").unwrap(), Some(SendTrouble::Unreachable));
    assert_eq!(late.send_batch(&[b"too early"]).unwrap(), (0, Some(SendTrouble::Unreachable)));
    bed.run(&["link", "b", "up"]);
    heard(&mut late, &mut live, b"late");
}

fn an_interface_that_is_deleted_and_created_again_is_joined_again() {
    let bed = Bed::up("nic");
    let mut lines = [line("A", "239.81.1.1:26400"), line("B", "239.81.2.1:26400")];
    // by address and from one source: a join that the kernel will not undo by source once the interface is gone
    lines[1].interface = "10.81.2.2".to_owned();
    lines[1].source = Some("10.81.2.1".parse().unwrap());
    let (mut live, mut watch) = bed.live("recv", &feed::of(&lines));
    let mut b_out = line("B", "239.81.2.1:26400");
    b_out.interface = "b0".to_owned();
    let mut senders = [sender(&bed, &lines[0]), sender(&bed, &b_out)];
    bed.notices(&mut watch);

    for (nic, configured, sender) in [("a", "a0", 0), ("b", "10.81.2.2", 1)] {
        let (name, interface) = (nic.to_uppercase(), format!("{nic}0"));
        let sender = &mut senders[sender];
        heard(sender, &mut live, b"before");
        let old = bed.index(&interface);
        bed.run(&["nic", nic, "delete"]);
        assert_eq!(
            bed.next_notices(&mut watch),
            [format!("line {name}: interface {configured} (index {old}) disappeared")]
        );
        assert_eq!(bed.notices(&mut watch), [""; 0]);
        assert_eq!(sender.send(b"nowhere").unwrap(), Some(SendTrouble::Unreachable));
        assert_eq!(bed.on("pub", || sender.check().unwrap()), SenderState::Gone);
        assert_eq!(sender.send(b"nowhere").unwrap(), Some(SendTrouble::Unreachable));
        assert_eq!(bed.on("pub", || sender.check().unwrap()), SenderState::Same);

        bed.run(&["nic", nic, "create"]);
        let new = bed.index(&interface);
        assert_ne!(new, old);
        assert_eq!(
            bed.next_notices(&mut watch),
            [format!("line {name}: joined on interface {configured} (index {new})")]
        );
        assert_eq!(bed.on("pub", || sender.check().unwrap()), SenderState::Back);
        drain(&mut live);
        heard(sender, &mut live, b"after");
    }
    assert_eq!(watch.facts().iter().map(|facts| facts.gone).collect::<Vec<_>>(), [1, 1]);

    // a NIC that comes back from somewhere else with the index that it had
    let old = bed.index("a0");
    bed.run(&["nic", "a", "delete"]);
    assert_eq!(bed.notices(&mut watch), [format!("line A: interface a0 (index {old}) disappeared")]);
    bed.create_a(&format!("index {old} "), "");
    assert_eq!(bed.notices(&mut watch)[0], format!("line A: joined on interface a0 (index {old})"));
    assert_eq!(bed.on("pub", || senders[0].check().unwrap()), SenderState::Back);
    heard(&mut senders[0], &mut live, b"from elsewhere");

    // within the time of one check: gone and joined are said together; and more often than a socket may be joined at once
    for _ in 0..21 {
        let old = bed.index("b0");
        bed.run(&["nic", "b", "delete"]);
        bed.run(&["nic", "b", "create"]);
        let new = bed.index("b0");
        assert_eq!(
            bed.notices(&mut watch)[..2],
            [
                format!("line B: interface 10.81.2.2 (index {old}) disappeared"),
                format!("line B: joined on interface 10.81.2.2 (index {new})")
            ]
        );
    }
    assert_eq!(bed.on("pub", || senders[1].check().unwrap()), SenderState::Back);
    heard(&mut senders[1], &mut live, b"again");
}

fn a_line_whose_interface_is_missing_at_the_start_is_joined_when_it_appears() {
    let bed = Bed::up("late");
    let lines = [line("A", "239.81.1.1:26400"), line("B", "239.81.2.1:26400")];
    bed.run(&["nic", "a", "delete"]);
    let (mut live, mut watch) = bed.live("recv", &feed::of(&lines));
    assert_eq!(
        bed.notices(&mut watch)[..1],
        ["line A: there is no interface a0; the line is joined when it appears".to_owned()]
    );
    heard(&mut sender(&bed, &lines[1]), &mut live, b"b alone");
    bed.notices(&mut watch);
    bed.run(&["nic", "a", "create"]);
    let joined = bed.next_notices(&mut watch);
    assert_eq!(joined[0], format!("line A: joined on interface a0 (index {})", bed.index("a0")));
    heard(&mut sender(&bed, &lines[0]), &mut live, b"a too");
    assert_eq!(watch.facts()[0].gone, 0);
}

fn two_lines_with_the_same_group_and_port_hear_each_its_own_interface() {
    let bed = Bed::up("same");
    let lines = [line("A", "239.81.9.1:26400"), line("B", "239.81.9.1:26400")];
    let (mut live, _watch) = bed.live("recv", &feed::of(&lines));
    let mut senders = [sender(&bed, &lines[0]), sender(&bed, &lines[1])];
    heard(&mut senders[0], &mut live, b"up");
    heard(&mut senders[1], &mut live, b"up");
    drain(&mut live);
    let mut seen = Vec::new();
    for (sender, payload) in senders.iter_mut().zip([b"A", b"B"]) {
        assert_eq!(sender.send(payload).unwrap(), None);
    }
    wait_for("one of each", || {
        live.poll(&mut |d| seen.push((d.line.index(), d.payload.to_vec()))).unwrap();
        seen.len() >= 2
    });
    live.poll(&mut |d| seen.push((d.line.index(), d.payload.to_vec()))).unwrap();
    seen.sort();
    assert_eq!(seen, [(0, b"A".to_vec()), (1, b"B".to_vec())]);
}
