//! Clients that come and go while the hot thread writes.

use super::*;
use crate::delivery::{AttachReason, DIRECT_MAX, Roster};

/// The writers that have come back, by id and by whether their client has gone.
fn returned(roster: &mut Roster) -> Vec<(String, bool)> {
    std::iter::from_fn(|| roster.returned()).map(|(id, delivery)| (id.to_string(), delivery.client_gone())).collect()
}

fn clients(roster: &Roster) -> Vec<String> {
    roster.clients().map(|id| id.to_string()).collect()
}

#[test]
fn a_client_that_attaches_between_two_frames_begins_with_the_second() {
    let (mut deliveries, mut roster) = Deliveries::new(2);
    let (first, mut early) = pair(StreamKind::Ordered);
    let (second, mut late) = pair(StreamKind::Ordered);
    roster.attach(first).unwrap();
    deliveries.tend();
    deliveries.event(&event(AT, EventKind::Epoch { session: session("S"), first: SeqNo(1) }));
    deliveries.release(&run(1, 2, &pack(&[b"one", b"two"])));
    deliveries.release(&Run { channel: KEYED, session: Session::number(8), ..run(7, 1, &pack(&[b"k"])) });
    roster.attach(second).unwrap();
    deliveries.release(&run(3, 1, &pack(&[b"three"])));
    assert_eq!(late.poll(), Ok(Polled::Empty), "it is taken up between two frames, not within one");
    deliveries.tend();
    deliveries.release(&run(4, 2, &pack(&[b"four", b"five"])));
    deliveries.loss(&loss(6, 9));
    deliveries.release(&Run { channel: KEYED, session: Session::number(8), ..run(8, 1, &pack(&[b"l"])) });
    let epoch = r#""epoch","session":"S","first":1}"#;
    assert_eq!(
        read(&mut early),
        [
            epoch,
            "0 S 1 one",
            "0 S 2 two",
            "2.3 8 7 k",
            "0 S 3 three",
            "0 S 4 four",
            "0 S 5 five",
            "loss S [6, 9)",
            "2.3 8 8 l"
        ]
    );
    // the channels had begun before it came, and it is told of both all the same
    assert_eq!(read(&mut late), ["0 S 4 four", "0 S 5 five", "loss S [6, 9)", "2.3 8 8 l"]);
}

#[test]
fn a_detached_client_reads_what_was_written_and_then_the_end() {
    let (mut deliveries, mut roster) = Deliveries::new(3);
    let (mut ids, mut all) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (delivery, client) = pair(StreamKind::Ordered);
        ids.push(roster.attach(delivery).unwrap());
        all.push(client);
    }
    deliveries.tend();
    deliveries.release(&run(1, 1, &pack(&[b"one"])));
    assert!(roster.detach(ids[1]));
    assert!(!roster.detach(ids[1]), "asked already");
    deliveries.release(&run(2, 1, &pack(&[b"two"])));
    assert!(roster.returned().is_none(), "the hot thread has not looked yet");
    deliveries.tend();
    deliveries.release(&run(3, 1, &pack(&[b"three"])));
    assert_eq!(read(&mut all[1]), ["0 S 1 one", "0 S 2 two"]);
    assert_eq!(all[1].poll(), Ok(Polled::Ended), "whenever this side takes its writer back");
    assert_eq!(clients(&roster), ["0", "1", "2"]);
    assert_eq!(returned(&mut roster), [("1".into(), false)]);
    assert_eq!(clients(&roster), ["0", "2"]);
    for i in [0, 2] {
        assert_eq!(read(&mut all[i]), ["0 S 1 one", "0 S 2 two", "0 S 3 three"]);
    }
    assert!(!roster.detach(ids[1]), "not attached any more");
    drop(deliveries);
    assert_eq!(all[0].poll(), Ok(Polled::Ended));
}

#[test]
fn a_detached_client_is_told_of_its_last_overrun() {
    let (mut deliveries, mut roster) = Deliveries::new(1);
    let (mut delivery, mut client) = pair(StreamKind::Ordered);
    let end = fill(&mut delivery, 1);
    let id = roster.attach(delivery).unwrap();
    deliveries.tend();
    assert!(roster.detach(id));
    deliveries.tend();
    assert_eq!(returned(&mut roster), [("0".into(), false)]);
    let told = format!("overrun 0 S [{end}, {}) 1 messages, 0 events, 0 epochs", end + 1);
    assert_eq!(read(&mut client).last(), Some(&told));
    assert_eq!(client.poll(), Ok(Polled::Ended));
}

#[test]
fn clients_that_have_gone_come_back_by_themselves() {
    let (mut deliveries, mut roster) = Deliveries::new(4);
    let (mut all, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (delivery, client) = pair(StreamKind::Ordered);
        ids.push(roster.attach(delivery).unwrap());
        all.push(Some(client));
    }
    deliveries.tend();
    all[1] = None;
    all[2] = None;
    // one client is asked at a time, and each in its turn
    for _ in 0..4 * Deliveries::LOOK_EVERY {
        deliveries.tend();
    }
    assert!(roster.detach(ids[2]), "a gone client may be detached as well; the order finds nobody");
    deliveries.tend();
    assert_eq!(returned(&mut roster), [("1".into(), true), ("2".into(), true)]);
    deliveries.release(&run(1, 1, &pack(&[b"one"])));
    for i in [0, 3] {
        assert_eq!(read(all[i].as_mut().unwrap()), ["0 S 1 one"]);
    }
    assert_eq!(clients(&roster), ["0", "3"]);
}

#[test]
fn a_full_set_hands_the_writer_back_and_takes_another_once_one_has_returned() {
    let (mut deliveries, mut roster) = Deliveries::new(2);
    // attached and detached over and over without a look of the hot thread: the limits hold, and every detach finds its place
    let mut refused = 0;
    for round in 0..20 {
        let (delivery, client) = pair(StreamKind::Ordered);
        match roster.attach(delivery) {
            Ok(id) => assert!(roster.detach(id)),
            Err(error) => {
                assert_eq!(error.reason, AttachReason::Full);
                assert!(!error.delivery.client_gone(), "as it was");
                refused += 1;
            }
        }
        drop(client);
        if round % 5 == 4 {
            deliveries.tend();
            assert_eq!(returned(&mut roster).len(), 2);
            assert_eq!(clients(&roster).len(), 0);
        }
    }
    assert_eq!(refused, 4 * 3, "two of five");
    drop(deliveries);
    let (delivery, _client) = pair(StreamKind::Ordered);
    let error = roster.attach(delivery).unwrap_err();
    assert_eq!(error.reason, AttachReason::Ended);
    assert_eq!(error.to_string(), "the arbiter that the client was to be attached to has ended");
}

#[test]
fn as_many_clients_as_may_be_all_get_everything() {
    let (mut deliveries, mut roster) = Deliveries::new(DIRECT_MAX);
    let mut all: Vec<_> = (0..DIRECT_MAX)
        .map(|_| {
            let (delivery, client) = pair(StreamKind::Ordered);
            roster.attach(delivery).unwrap();
            client
        })
        .collect();
    let (delivery, _client) = pair(StreamKind::Ordered);
    assert_eq!(roster.attach(delivery).unwrap_err().reason, AttachReason::Full);
    deliveries.tend();
    deliveries.release(&run(1, 1, &pack(&[b"x"])));
    assert!(all.iter_mut().all(|client| read(client) == ["0 S 1 x"]));
}

#[test]
fn a_hot_thread_that_ends_ends_every_client() {
    let (mut deliveries, mut roster) = Deliveries::new(3);
    let (taken_up, mut a) = pair(StreamKind::Ordered);
    let (waiting, mut b) = pair(StreamKind::Ordered);
    let (given_back, mut c) = pair(StreamKind::Ordered);
    let id = roster.attach(given_back).unwrap();
    roster.attach(taken_up).unwrap();
    roster.detach(id);
    deliveries.tend();
    roster.attach(waiting).unwrap();
    drop(deliveries);
    assert_eq!(a.poll(), Ok(Polled::Ended));
    // one that was never taken up ends with the roster
    assert_eq!((b.poll(), c.poll()), (Ok(Polled::Empty), Ok(Polled::Ended)));
    drop(roster);
    assert_eq!(b.poll(), Ok(Polled::Ended));
}

#[test]
fn two_threads_clients_come_and_go_and_none_misses_a_message_while_it_is_there() {
    const CLIENTS: usize = 60;
    let (mut deliveries, mut roster) = Deliveries::new(4);
    let (mut stop, stopped) = ring::handoff::<()>(1);
    let hot = thread::spawn(move || {
        let mut n = 0;
        while !stopped.ready() {
            deliveries.tend();
            for _ in 0..8 {
                n += 1;
                deliveries.release(&run(n, 1, &pack(&[&n.to_le_bytes()])));
            }
            thread::yield_now();
        }
    });
    let (mut here, mut ended): (Vec<(_, Client, u64)>, _) = (Vec::new(), 0);
    let mut attached = 0;
    while ended < CLIENTS {
        if attached < CLIENTS {
            let (delivery, client) = pair(StreamKind::Ordered);
            if let Ok(id) = roster.attach(delivery) {
                attached += 1;
                here.push((id, client, 0));
            }
        }
        while let Some((_, delivery)) = roster.returned() {
            drop(delivery);
        }
        here.retain_mut(|(id, client, next)| {
            let mut read = 0;
            loop {
                match client.poll().unwrap() {
                    Polled::Item(Item::Message(message)) => {
                        assert!(*next == 0 || message.sequence.0 == *next, "{id}: {} after {next}", message.sequence);
                        assert_eq!(message.bytes, message.sequence.0.to_le_bytes());
                        *next = message.sequence.0 + 1;
                        read += 1;
                    }
                    Polled::Item(Item::Overrun(overrun)) => {
                        assert!(*next == 0 || overrun.range.first.0 == *next);
                        *next = overrun.range.end.0;
                    }
                    Polled::Item(item) => panic!("{item:?}"),
                    Polled::Empty => break,
                    Polled::Ended => {
                        ended += 1;
                        return false;
                    }
                }
            }
            // half are asked back, half go by themselves, each after it has read something
            if *next > 0 && read > 0 {
                if id.to_string().ends_with(['0', '2', '4', '6', '8']) {
                    roster.detach(*id);
                } else {
                    ended += 1;
                    return false;
                }
            }
            true
        });
        thread::yield_now();
    }
    stop.give(()).unwrap();
    hot.join().unwrap();
}
