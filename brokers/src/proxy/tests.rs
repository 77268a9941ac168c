use super::*;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

/// A server that sends back what it gets, and its proxy.
fn echo() -> FaultProxy {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    FaultProxy::start(address.to_string()).unwrap()
}

fn client(proxy: &FaultProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn round(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
    stream.write_all(b"ping")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).map(|()| answer)
}

#[test]
fn bytes_pass_and_a_delay_delays_each_way() {
    let proxy = echo();
    let mut stream = client(&proxy);
    assert_eq!(&round(&mut stream).unwrap(), b"ping");
    proxy.set(Fault::Delay(Duration::from_millis(150)));
    let started = std::time::Instant::now();
    assert_eq!(&round(&mut stream).unwrap(), b"ping");
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn a_black_hole_holds_everything_back_and_gives_it_back() {
    let proxy = echo();
    let mut stream = client(&proxy);
    round(&mut stream).unwrap();
    proxy.set(Fault::Blackhole);
    stream.write_all(b"ping").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let silence = stream.read(&mut [0; 4]).unwrap_err();
    assert!(
        matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{silence}"
    );
    proxy.set(Fault::Pass);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

#[test]
fn a_side_that_is_mute_still_hears() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap().to_string()).unwrap();
    let (mut client, mut server) = (client(&proxy), listener.accept().unwrap().0);
    proxy.set(Fault::Mute(Side::Server));
    server.write_all(b"pong").unwrap();
    client.write_all(b"ping").unwrap();
    let mut heard = [0; 4];
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"ping");
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let silence = client.read(&mut heard).unwrap_err();
    assert!(
        matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{silence}"
    );
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    proxy.set(Fault::Pass);
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"pong");
    proxy.set(Fault::Mute(Side::Server));
    server.write_all(b"lost").unwrap();
    proxy.cut();
    proxy.set(Fault::Pass);
    assert_eq!(
        client.read(&mut heard).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn a_cut_resets_what_is_open_and_serves_what_is_new() {
    let proxy = echo();
    let mut stream = client(&proxy);
    round(&mut stream).unwrap();
    proxy.cut();
    assert_eq!(
        stream.read(&mut [0; 4]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(&round(&mut client(&proxy)).unwrap(), b"ping");
}

#[test]
fn a_client_that_is_told_of_an_end_can_still_send() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap().to_string()).unwrap();
    let mut stream = client(&proxy);
    let (mut server, _) = listener.accept().unwrap();
    // Something must have passed, or else the end might come before the ways are open.
    stream.write_all(b"a").unwrap();
    server.read_exact(&mut [0]).unwrap();
    proxy.half_close(Side::Client);
    assert_eq!(stream.read(&mut [0; 4]).unwrap(), 0);
    stream.write_all(b"ping").unwrap();
    let mut got = [0; 4];
    server.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
}

#[test]
fn refused_clients_are_reset_and_others_go_on() {
    let proxy = echo();
    let mut old = client(&proxy);
    round(&mut old).unwrap();
    proxy.set(Fault::Refuse);
    assert!(round(&mut client(&proxy)).is_err());
    assert_eq!(&round(&mut old).unwrap(), b"ping");
}

#[test]
fn a_proxy_that_is_dropped_ends_its_connections() {
    let proxy = echo();
    let mut stream = client(&proxy);
    round(&mut stream).unwrap();
    drop(proxy);
    assert!(!matches!(stream.read(&mut [0; 4]), Ok(1..)));
}
