#![allow(clippy::unwrap_used, reason = "tests")]

use std::{future::poll_fn, thread};

use super::{control, datagram::PacketId, *};
use crate::media::clock::Clock;

fn rtp(sequence: u16) -> Vec<u8> {
    let [a, b] = sequence.to_be_bytes();
    vec![0x80, 111, a, b, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3]
}

fn socket(log: Option<Arc<Log>>, impairment: Option<Arc<Impairment>>) -> (Arc<dyn AsyncUdpSocket>, SocketAddr) {
    wrapped(&StampingRuntime { log, impairment, ..StampingRuntime::default() }, "127.0.0.1:0")
}

fn wrapped(runtime: &StampingRuntime, address: &str) -> (Arc<dyn AsyncUdpSocket>, SocketAddr) {
    let socket = std::net::UdpSocket::bind(address).unwrap();
    let address = socket.local_addr().unwrap();
    (runtime.wrap_udp_socket(socket).unwrap(), address)
}

async fn receive_one(socket: &Arc<dyn AsyncUdpSocket>) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 1500];
    let mut meta = [RecvMeta::default()];
    let count = poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta)).await.unwrap();
    assert_eq!((count, meta[0].stride), (1, meta[0].len));
    (buffer[..meta[0].len].to_vec(), meta[0].addr)
}

#[tokio::test]
async fn a_datagram_is_stamped_when_it_comes_not_when_it_is_read() {
    let log = Arc::new(Log::new(Clock::start()));
    let (socket, address) = socket(Some(Arc::clone(&log)), None);
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let slept = 20_000_000;
    // The kernel takes a while to begin stamping after the first socket asked for it.
    for sequence in 0..100 {
        let before = log.clock().now();
        sender.send_to(&rtp(sequence), address).unwrap();
        thread::sleep(Duration::from_nanos(slept as u64));
        let (bytes, from) = receive_one(&socket).await;
        let read = log.clock().now();
        assert_eq!((bytes, from), (rtp(sequence), sender.local_addr().unwrap()));
        let at = log.take(PacketId { ssrc: 5, sequence }).unwrap();
        assert!(before <= at && at <= read, "{before} {at} {read}");
        if at <= read - slept {
            return;
        }
    }
    unreachable!("no datagram was stamped on arrival");
}

#[tokio::test]
async fn what_the_rehearsal_holds_back_counts_as_sent_that_much_earlier() {
    let log = Arc::new(Log::new(Clock::start()));
    let delay = Duration::from_millis(30);
    let impairment = Arc::new(Impairment::new(delay, 0.0, 1).unwrap());
    let (sender, _) = socket(Some(Arc::clone(&log)), Some(impairment));
    let arrivals = Arc::new(Log::new(*log.clock()));
    let (receiver, to) = socket(Some(Arc::clone(&arrivals)), None);
    let check = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[3; 12]].concat();
    sender.send_to(&rtp(7), to).await.unwrap();
    sender.send_to(&check, to).await.unwrap();
    assert_eq!(receive_one(&receiver).await.0, check, "checks overtake held media");
    assert_eq!(receive_one(&receiver).await.0, rtp(7));
    let id = PacketId { ssrc: 5, sequence: 7 };
    let taken = arrivals.take(id).unwrap() - log.sent(id).unwrap();
    assert!(taken >= 30_000_000, "{taken} ns");
}

#[tokio::test]
async fn what_leaves_the_rehearsal_too_late_was_sent_late() {
    let delay = Duration::from_millis(30);
    let impairment = Impairment::new(delay, 0.0, 1).unwrap();
    let log = Arc::new(Log::new(Clock::start()));
    let (receiver, to) = socket(None, None);
    let sender = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    sender.writable().await.unwrap();
    // Held since a second, so let go 970 ms too late.
    let meant = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    let before = log.clock().before(delay);
    assert!(impairment.hold(&sender, to, &rtp(9), 0, Some(&log), meant));
    assert_eq!(receive_one(&receiver).await.0, rtp(9));
    let sent = log.sent(PacketId { ssrc: 5, sequence: 9 }).unwrap();
    assert!(before <= sent && sent <= log.clock().before(delay), "{before} {sent}");
}

#[tokio::test]
async fn what_the_rehearsal_loses_counts_as_sent_and_never_arrives() {
    let log = Arc::new(Log::new(Clock::start()));
    let impairment = Arc::new(Impairment::new(Duration::ZERO, 1.0, 1).unwrap());
    let (sender, _) = socket(Some(Arc::clone(&log)), Some(impairment));
    let (receiver, to) = socket(None, None);
    assert_eq!(sender.send_to(&rtp(8), to).await.unwrap(), rtp(8).len());
    let report = [0x80, 200, 0, 1, 0, 0, 0, 5];
    sender.send_to(&report, to).await.unwrap();
    assert_eq!(receive_one(&receiver).await.0, report, "reports are never lost");
    assert!(log.sent(PacketId { ssrc: 5, sequence: 8 }).is_some());
}

/// Whether a timer of the runtime runs out at once.
async fn runs_out(runtime: &StampingRuntime) -> bool {
    let mut timer = runtime.sleep(Duration::from_secs(3600));
    poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx).is_ready())).await
}

#[tokio::test]
async fn where_a_relay_may_be_on_the_way_the_loop_goes_on_after_each_arrival_and_nobody_else() {
    let check = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[3; 12]].concat();
    for relayed in [true, false] {
        let rounds = relayed.then(Arc::<Rounds>::default);
        let runtime = Arc::new(StampingRuntime { rounds, ..StampingRuntime::default() });
        let check = check.clone();
        let looped = async move {
            let (socket, to) = wrapped(&runtime, "127.0.0.1:0");
            let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            assert!(!runs_out(&runtime).await);
            for (bytes, rounds) in [(check.clone(), 4), (rtp(1), 0), (check, 4)] {
                sender.send_to(&bytes, to).unwrap();
                receive_one(&socket).await;
                let other = Arc::clone(&runtime);
                assert!(!tokio::spawn(async move { runs_out(&other).await }).await.unwrap());
                for round in 0..6 {
                    assert_eq!(runs_out(&runtime).await, relayed && round < rounds, "{round} of {rounds}");
                }
            }
            runtime.sleep(Duration::ZERO).await;
            assert_eq!(runs_out(&runtime).await, relayed, "what a timer made leaves as well");
        };
        tokio::spawn(looped).await.unwrap();
    }
}

/// A socket that is told the marks of what arrives.
fn marked_receiver(address: &str) -> (UdpSocket, SocketAddr) {
    let socket = std::net::UdpSocket::bind(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let (level, option) = match socket.local_addr().unwrap() {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVTOS),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
    };
    system::set(socket.as_raw_fd(), level, option, &1i32.to_ne_bytes()).unwrap();
    let address = socket.local_addr().unwrap();
    (UdpSocket::from_std(socket).unwrap(), address)
}

/// The next datagram and the mark it came with.
async fn marked(socket: &UdpSocket) -> (Vec<u8>, u8) {
    let mut buffer = [0; 1500];
    let read = |control: &[u8]| control::next(control).and_then(|(_, _, data, _)| data.first().copied());
    loop {
        socket.readable().await.unwrap();
        let received = socket.try_io(Interest::READABLE, || system::receive(socket.as_raw_fd(), &mut buffer, read));
        if let Ok((length, _, class)) = received {
            return (buffer[..length].to_vec(), class.unwrap() >> 2);
        }
    }
}

#[tokio::test]
async fn sound_and_picture_arrive_with_their_own_marks_in_both_families_and_when_delayed() {
    let picture = |number| {
        let mut packet = rtp(number);
        packet[8..12].copy_from_slice(&7u32.to_be_bytes());
        packet
    };
    let relayed = [&[0x40, 0, 0, 15][..], &picture(3)].concat();
    let report = vec![0x80, 200, 0, 1, 0, 0, 0, 7];
    let check = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[3; 12]].concat();
    for (address, delay) in [("127.0.0.1:0", 0), ("[::1]:0", 0), ("127.0.0.1:0", 5)] {
        let impairment = Arc::new(Impairment::new(Duration::from_millis(delay), 0.0, 1).unwrap());
        let runtime = StampingRuntime {
            impairment: Some(impairment),
            marks: Marks { dscp: Dscp { audio: 46, video: 34 }, picture: Some(7) },
            ..StampingRuntime::default()
        };
        let (sender, _) = wrapped(&runtime, address);
        let (receiver, to) = marked_receiver(address);
        for (bytes, expected) in
            [(rtp(1), 46), (picture(2), 34), (relayed.clone(), 34), (report.clone(), 46), (check.clone(), 46)]
        {
            assert_eq!(sender.send_to(&bytes, to).await.unwrap(), bytes.len());
            assert_eq!(marked(&receiver).await, (bytes, expected), "{address}, {delay} ms");
        }
    }
}

#[tokio::test]
async fn without_marks_nothing_is_marked() {
    let (sender, _) = socket(None, None);
    let (receiver, to) = marked_receiver("127.0.0.1:0");
    sender.send_to(&rtp(1), to).await.unwrap();
    assert_eq!(marked(&receiver).await, (rtp(1), 0));
}

#[tokio::test]
async fn a_socket_keeps_to_its_interface_and_none_other_is_found() {
    check_interface("lo").unwrap();
    let runtime = StampingRuntime { interface: Some("lo".to_owned()), ..StampingRuntime::default() };
    let (sender, _) = wrapped(&runtime, "127.0.0.1:0");
    let (receiver, to) = socket(None, None);
    sender.send_to(&rtp(1), to).await.unwrap();
    assert_eq!(receive_one(&receiver).await.0, rtp(1));

    let missing = StampingRuntime { interface: Some("no-such-card".to_owned()), ..StampingRuntime::default() };
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let refused = missing.wrap_udp_socket(socket).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENODEV));
    assert_eq!(check_interface("no-such-card").unwrap_err().raw_os_error(), Some(libc::ENODEV));
}
