//! AF_XDP on veth pairs between two network namespaces, and on loopback: what is redirected, what is passed on, and what
//! stays behind when a process is killed.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};

use twinline_node::os::{
    self, Attachment, Batch, Checksum, HostInterface, Membership, ReceiveOptions, Receiver, Ring, RingOptions, Sender,
    XdpAttachment, XdpMode, XdpRing,
};

use crate::support::netns::Bed;
use crate::support::trials::{Test, tests};
use crate::support::wait_for;

pub const TESTS: &[Test] = tests![
    the_driver_redirects_what_is_wanted_and_passes_all_else_on,
    the_kernel_redirects_where_the_driver_does_not,
    loopback_works_in_skb_mode_and_says_why_not_in_native,
    other_traffic_does_not_see_the_program,
    an_interface_that_has_a_program_is_left_to_it,
    what_the_ring_has_no_room_for_is_counted,
    a_link_that_goes_down_and_comes_up_keeps_the_program,
    an_interface_that_takes_the_place_of_a_deleted_one_is_followed,
    a_ring_goes_from_one_interface_to_another,
    each_queue_has_a_socket,
    an_interface_that_is_down_at_the_start_is_heard_when_it_is_up,
    a_process_that_is_killed_leaves_nothing_attached,
];
pub const TESTS_WITH_SETPRIV: &[Test] = tests![a_process_without_a_capability_is_told_which];
pub const TESTS_ANYWHERE: &[Test] = tests![kernel_stamps_are_refused];

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 81, 1, 1), 26_400);
const OTHER_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 81, 1, 1), 26_401);
const BUFFER: usize = 1 << 20;
const OCCUPIED: &str = "an XDP program is attached to the interface already";

impl Bed {
    /// Attached, or in words why not.
    fn ring(&self, name: &str, modes: &'static [XdpMode]) -> Result<(XdpRing, XdpAttachment), String> {
        let (ring, mut attachment) = XdpRing::open(&options(), modes).unwrap();
        self.attach(&mut attachment, self.index(name))?;
        Ok((ring, attachment))
    }

    /// Its queues are counted in the receiver's namespace.
    fn attach(&self, attachment: &mut XdpAttachment, index: u32) -> Result<(), String> {
        self.on("recv", || attachment.attach(index).map_err(|error| error.to_string()))
    }

    /// An ordinary socket, joined on `name`.
    fn joined(&self, name: &str, group: SocketAddrV4) -> (Receiver, Membership) {
        let index = self.index(name);
        self.on("recv", || {
            let (receiver, mut membership) = Receiver::open(group, None, false, &ReceiveOptions::default()).unwrap();
            membership.join(index).unwrap();
            (receiver, membership)
        })
    }

    /// What `ip` says of a program on the receiver's interface.
    fn program(&self, interface: &str) -> String {
        let namespace = format!("{}-recv", self.prefix);
        let said = Command::new("ip").args(["-n", &namespace, "link", "show", "dev", interface]).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        said.split_whitespace().find(|word| word.starts_with("xdp")).unwrap_or("none").to_owned()
    }
}

fn options() -> RingOptions {
    RingOptions { groups: vec![GROUP], buffer_bytes: BUFFER, kernel_stamps: false }
}

/// The payloads of one poll's frames.
fn polled(ring: &mut XdpRing) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    let count = ring.poll(&mut |frame| {
        assert_eq!((frame.truncated, frame.checksum, frame.kernel_stamp), (false, Checksum::Unknown, None));
        assert_eq!(frame.bytes[12..14], [0x08, 0x00], "IPv4");
        assert_eq!(frame.bytes[23], 17, "UDP");
        seen.push(frame.bytes[42..].to_vec());
    });
    assert_eq!(count.unwrap(), seen.len());
    seen
}

fn received(socket: &Receiver, batch: &mut Batch) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    socket.poll(batch, &mut |received| seen.push(received.payload.to_vec())).unwrap();
    seen
}

/// Sends until it is redirected: what was sent before the link settled may be lost.
fn heard(sender: &mut Sender, ring: &mut XdpRing, payload: &[u8]) {
    wait_for(&format!("{payload:?}"), || {
        let _ = sender.send(payload).unwrap();
        polled(ring).iter().any(|one| one == payload)
    });
    while !polled(ring).is_empty() {}
}

fn redirects_and_passes_on(bed: &Bed, side: &str, interface: &str, modes: &'static [XdpMode]) {
    let (socket, _membership) = bed.joined(interface, GROUP);
    let (other, _other_membership) = bed.joined(interface, OTHER_PORT);
    let (mut ring, mut watch) = bed.ring(interface, modes).unwrap();
    assert_eq!(watch.mode().map(|(mode, instead)| (mode, instead.is_none())), Some((modes[0], true)));
    assert_eq!(watch.queues(), (1, false));
    let (mut to_group, mut to_other) = (bed.sender(side, interface, GROUP), bed.sender(side, interface, OTHER_PORT));
    let mut batch = Batch::new();
    heard(&mut to_group, &mut ring, b"up");
    while !received(&socket, &mut batch).is_empty() {}

    // more than once around the ring, in batches
    let mut seen = Vec::new();
    for n in 0..2_000u32 {
        assert_eq!(to_group.send(&n.to_be_bytes()).unwrap(), None);
        if n % 50 == 49 {
            wait_for("what was sent", || {
                seen.extend(polled(&mut ring));
                seen.len() > n as usize
            });
        }
    }
    assert_eq!(seen, (0..2_000u32).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());
    assert_eq!(received(&socket, &mut batch), [[0u8; 0]; 0], "an ordinary socket gets none of it");
    assert_eq!(watch.overflow().unwrap(), 0);

    // another port, a datagram that comes in fragments, one that is too long for a chunk
    for payload in [vec![3; 5_000], vec![4; 1_760]] {
        assert_eq!(to_other.send(b"another").unwrap(), None);
        assert_eq!(to_group.send(&payload).unwrap(), None);
        let (mut on_other, mut on_socket) = (Vec::new(), Vec::new());
        wait_for("what is passed on", || {
            on_other.extend(received(&other, &mut batch));
            // on a link of 1,500 bytes the second is in fragments, too
            on_socket.extend(received(&socket, &mut batch));
            !on_other.is_empty() && !on_socket.is_empty()
        });
        assert_eq!((on_other, on_socket), (vec![b"another".to_vec()], vec![payload]));
    }
    assert_eq!(polled(&mut ring), [[0u8; 0]; 0]);

    drop((ring, watch));
    assert_eq!(bed.program(interface), "none");
    wait_for("the ordinary way, once the program is gone", || {
        assert_eq!(to_group.send(b"after").unwrap(), None);
        !received(&socket, &mut batch).is_empty()
    });
}

fn the_driver_redirects_what_is_wanted_and_passes_all_else_on() {
    let bed = Bed::up("xnative");
    redirects_and_passes_on(&bed, "pub", "a0", &[XdpMode::Native]);
}

fn the_kernel_redirects_where_the_driver_does_not() {
    let bed = Bed::up("xskb");
    redirects_and_passes_on(&bed, "pub", "a0", &[XdpMode::Skb]);
}

fn loopback_works_in_skb_mode_and_says_why_not_in_native() {
    let bed = Bed::up("xlo");
    redirects_and_passes_on(&bed, "recv", "lo", &[XdpMode::Skb]);
    let (_ring, watch) = bed.ring("lo", XdpMode::BEST).unwrap();
    let (mode, instead) = watch.mode().unwrap();
    assert_eq!(mode, XdpMode::Skb);
    assert!(instead.unwrap().to_string().starts_with("cannot attach the XDP program: "), "{instead:?}");
}

fn other_traffic_does_not_see_the_program() {
    let bed = Bed::up("xother");
    let (_ring, watch) = bed.ring("a0", XdpMode::BEST).unwrap();
    assert_eq!(watch.mode().unwrap().0, XdpMode::Native);
    assert!(bed.program("a0").starts_with("xdp"), "{}", bed.program("a0"));
    // unicast, which asks for an address by ARP first, there and back
    let there = bed.on("recv", || UdpSocket::bind("10.81.1.2:26400").unwrap());
    let here = bed.on("pub", || UdpSocket::bind("10.81.1.1:0").unwrap());
    for socket in [&there, &here] {
        socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    }
    let mut buffer = [0; 16];
    here.send_to(b"question", "10.81.1.2:26400").unwrap();
    let (len, from) = there.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"question");
    there.send_to(b"answer", from).unwrap();
    assert_eq!(here.recv(&mut buffer).unwrap(), 6);
}

fn an_interface_that_has_a_program_is_left_to_it() {
    let bed = Bed::up("xtwo");
    let first = bed.ring("a0", XdpMode::BEST).unwrap();
    for modes in [&[XdpMode::Native][..], &[XdpMode::Skb]] {
        let error = bed.ring("a0", modes).unwrap_err();
        assert!(error.starts_with("cannot attach the XDP program: ") && error.contains(OCCUPIED), "{error}");
    }
    let second = bed.ring("b0", XdpMode::BEST).unwrap();
    drop(first);
    // at once: what the kernel lets go of later is waited for
    let again = bed.ring("a0", XdpMode::BEST).unwrap();
    drop((second, again));
    assert_eq!([bed.program("a0"), bed.program("b0")], ["none", "none"]);
}

fn what_the_ring_has_no_room_for_is_counted() {
    let bed = Bed::up("xfull");
    for modes in [&[XdpMode::Native][..], &[XdpMode::Skb]] {
        let (mut ring, mut watch) = bed.ring("a0", modes).unwrap();
        let mut sender = bed.sender("pub", "a0", GROUP);
        heard(&mut sender, &mut ring, b"up");
        let (sent, room) = (1_000, BUFFER as u64 / 2048);
        for _ in 0..sent {
            assert_eq!(sender.send(b"into the ring").unwrap(), None);
        }
        let mut lost = 0;
        wait_for("the count", || {
            lost += watch.overflow().unwrap();
            lost == sent - room
        });
        let mut taken = 0;
        wait_for("the rest", || {
            taken += polled(&mut ring).len() as u64;
            taken == room
        });
        heard(&mut sender, &mut ring, b"as before");
        assert_eq!(watch.overflow().unwrap(), 0);
    }
}

fn a_link_that_goes_down_and_comes_up_keeps_the_program() {
    let bed = Bed::up("xlink");
    for modes in [&[XdpMode::Native][..], &[XdpMode::Skb]] {
        for side in ["pub", "recv"] {
            let _joined = bed.joined("a0", GROUP);
            let (mut ring, mut watch) = bed.ring("a0", modes).unwrap();
            let mut sender = bed.sender("pub", "a0", GROUP);
            heard(&mut sender, &mut ring, b"before");
            bed.run(&["link", "a", "down", side]);
            bed.run(&["link", "a", "up", side]);
            bed.attach(&mut watch, bed.index("a0")).unwrap();
            heard(&mut sender, &mut ring, b"after");
        }
    }
}

fn an_interface_that_takes_the_place_of_a_deleted_one_is_followed() {
    let bed = Bed::up("xnic");
    let (mut ring, mut watch) = bed.ring("a0", XdpMode::BEST).unwrap();
    for round in 0..3 {
        heard(&mut bed.sender("pub", "a0", GROUP), &mut ring, b"before");
        let old = watch.attached().unwrap();
        bed.run(&["nic", "a", "delete"]);
        // noticed while it is away, or when it is back already
        if round != 1 {
            watch.detach();
            assert_eq!((watch.attached(), watch.queues(), watch.mode().is_none()), (None, (0, false), true));
            let gone = bed.on("recv", || watch.attach(old)).unwrap_err();
            assert!(os::no_such_interface(&gone.error), "{gone}");
        }
        assert_eq!(polled(&mut ring), [[0u8; 0]; 0]);
        bed.run(&["nic", "a", "create"]);
        let new = bed.index("a0");
        assert_ne!(new, old);
        bed.attach(&mut watch, new).unwrap();
        assert_eq!(watch.attached(), Some(new));
        // the hot half looks for it now and then, while it finds nothing
        (0..2_000).for_each(|_| assert_eq!(polled(&mut ring), [[0u8; 0]; 0]));
        heard(&mut bed.sender("pub", "a0", GROUP), &mut ring, b"after");
        assert_eq!(watch.overflow().unwrap(), 0);
    }

    // twice, before the hot half has looked
    for _ in 0..2 {
        bed.run(&["nic", "a", "delete"]);
        bed.run(&["nic", "a", "create"]);
        bed.attach(&mut watch, bed.index("a0")).unwrap();
    }
    heard(&mut bed.sender("pub", "a0", GROUP), &mut ring, b"again");
}

fn a_ring_goes_from_one_interface_to_another() {
    let bed = Bed::up("xgo");
    let (mut ring, mut watch) = bed.ring("a0", XdpMode::BEST).unwrap();
    let (mut a, mut b) = (bed.sender("pub", "a0", GROUP), bed.sender("pub", "b0", GROUP));
    heard(&mut a, &mut ring, b"a");
    bed.attach(&mut watch, bed.index("b0")).unwrap();
    assert_eq!(bed.program("a0"), "none", "at once, although the hot half has not looked yet");
    heard(&mut b, &mut ring, b"b");
    watch.detach();
    assert_eq!(bed.program("b0"), "none");
}

fn each_queue_has_a_socket() {
    let bed = Bed::up("xqueues");
    bed.run(&["nic", "a", "delete"]);
    let queues = "numtxqueues 4 numrxqueues 4";
    bed.create_a(&format!("{queues} "), queues);
    for modes in [&[XdpMode::Native][..], &[XdpMode::Skb]] {
        let (mut ring, mut watch) = bed.ring("a0", modes).unwrap();
        assert_eq!(watch.queues(), (4, false));
        // the kernel chooses a queue by the sender's port
        let mut senders: Vec<_> = (0..32).map(|_| bed.sender("pub", "a0", GROUP)).collect();
        heard(&mut senders[0], &mut ring, b"up");
        for round in 0..20u8 {
            for sender in &mut senders {
                assert_eq!(sender.send(&[round; 4]).unwrap(), None);
            }
            let mut seen = 0;
            wait_for("one of each sender", || {
                seen += polled(&mut ring).iter().filter(|payload| ***payload == [round; 4]).count();
                seen == senders.len()
            });
        }
        assert_eq!(watch.overflow().unwrap(), 0);
    }
}

fn kernel_stamps_are_refused() {
    let error =
        XdpRing::open(&RingOptions { kernel_stamps: true, ..options() }, XdpMode::BEST).unwrap_err().to_string();
    assert!(error.starts_with("cannot take kernel stamps") && error.contains("`kernel_stamps`"), "{error}");
}

fn an_interface_that_is_down_at_the_start_is_heard_when_it_is_up() {
    let bed = Bed::up("xlate");
    bed.run(&["link", "b", "down", "recv"]);
    let (mut ring, watch) = bed.ring("b0", XdpMode::BEST).unwrap();
    assert_eq!(watch.mode().unwrap().0, XdpMode::Native);
    bed.run(&["link", "b", "up", "recv"]);
    heard(&mut bed.sender("pub", "b0", GROUP), &mut ring, b"b");
}

/// Where a child of this program finds the interface that it is to take.
const CHILD: &str = "TWINLINE_TEST_XDP_CHILD";
/// In place of a namespace's name: it was started there.
const HERE: &str = "-";

/// What the children of the tests below do, instead of any test. Whether this process is one.
pub fn child() -> bool {
    let Ok(place) = env::var(CHILD) else { return false };
    let (namespace, interface) = place.split_once(' ').unwrap();
    if namespace != HERE {
        os::enter_namespace(namespace).unwrap();
    }
    let index = HostInterface::resolve(interface).unwrap().unwrap().index;
    let attached =
        XdpRing::open(&options(), XdpMode::BEST).map_err(|error| error.to_string()).and_then(|(ring, mut watch)| {
            watch.attach(index).map_err(|error| error.to_string())?;
            Ok((ring, watch))
        });
    match attached {
        Ok(open) => {
            println!("attached");
            // until it is killed, or left alone
            let _ = std::io::stdin().read(&mut [0]);
            drop(open);
        }
        Err(error) => println!("refused: {error}"),
    }
    true
}

/// A child, its output, and what it says.
fn child_on(namespace: &str, interface: &str, wrapper: &[&str]) -> (Child, BufReader<ChildStdout>, String) {
    let test = env::current_exe().unwrap();
    let test = test.to_str().unwrap();
    let words: Vec<&str> = wrapper.iter().copied().chain([test]).collect();
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .env(CHILD, format!("{namespace} {interface}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    output.read_line(&mut said).unwrap();
    (child, output, said.trim_end().to_owned())
}

fn a_process_that_is_killed_leaves_nothing_attached() {
    let bed = Bed::up("xkill");
    let (socket, _membership) = bed.joined("a0", GROUP);
    let (mut child, mut output, said) = child_on(&format!("{}-recv", bed.prefix), "a0", &[]);
    assert_eq!(said, "attached");
    assert!(bed.program("a0").starts_with("xdp"), "{}", bed.program("a0"));
    assert!(bed.ring("a0", XdpMode::BEST).unwrap_err().contains(OCCUPIED));
    child.kill().unwrap();
    child.wait().unwrap();
    output.read_to_end(&mut Vec::new()).unwrap();
    wait_for("an interface without a program", || bed.program("a0") == "none");
    let mut sender = bed.sender("pub", "a0", GROUP);
    let mut batch = Batch::new();
    wait_for("the ordinary way", || {
        assert_eq!(sender.send(b"after").unwrap(), None);
        !received(&socket, &mut batch).is_empty()
    });
    let (mut ring, _watch) = bed.ring("a0", XdpMode::BEST).unwrap();
    heard(&mut sender, &mut ring, b"taken over");
}

fn a_process_without_a_capability_is_told_which() {
    let bed = Bed::up("xcap");
    // CAP_SYS_ADMIN, which stands for CAP_BPF too, has to go with it; a namespace is entered by `ip` then
    let namespace = format!("{}-recv", bed.prefix);
    for (without, missing) in [("-net_raw", "CAP_NET_RAW"), ("-bpf,-sys_admin", "CAP_BPF")] {
        let bounding = format!("--bounding-set={without}");
        let (mut child, mut output, said) =
            child_on(HERE, "a0", &["ip", "netns", "exec", &namespace, "setpriv", &bounding]);
        output.read_to_end(&mut Vec::new()).unwrap();
        child.wait().unwrap();
        assert!(said.starts_with("refused: cannot ") && said.contains(missing), "without {without}: {said}");
    }
}
