//! As much of AMQP 0-9-1 as it takes to log in, to publish and to be told to go.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::support::PATIENCE;

type Method = (u16, u16);

const START: Method = (10, 10);
const START_OK: Method = (10, 11);
const TUNE: Method = (10, 30);
const TUNE_OK: Method = (10, 31);
const OPEN: Method = (10, 40);
const OPEN_OK: Method = (10, 41);
const CLOSE: Method = (10, 50);
const CHANNEL_OPEN: Method = (20, 10);
const CHANNEL_OPEN_OK: Method = (20, 11);
const CHANNEL_CLOSE: Method = (20, 40);
const DECLARE: Method = (50, 10);
const DECLARE_OK: Method = (50, 11);
const PUBLISH: Method = (60, 40);
/// The server takes no more messages.
pub(crate) const BLOCKED: Method = (10, 60);
/// It does again.
pub(crate) const UNBLOCKED: Method = (10, 61);

/// A connection that has logged in.
pub(crate) struct Client<S> {
    stream: S,
}

/// A plain connection to the port of an address `amqp://…@127.0.0.1:port/…`.
pub(crate) fn connect(url: &str) -> TcpStream {
    let stream = TcpStream::connect(address(url)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Host and port of an address.
pub(crate) fn address(url: &str) -> &str {
    let rest = url.split_once("://").unwrap().1;
    let authority = rest.split('/').next().unwrap();
    authority.rsplit('@').next().unwrap()
}

/// The secret of the mechanism PLAIN.
pub(crate) fn plain(user: &str, password: &str) -> Vec<u8> {
    format!("\0{user}\0{password}").into_bytes()
}

impl<S: Read + Write> Client<S> {
    /// Logs in; the error is what the server says, or that it says nothing.
    pub(crate) fn login(
        stream: S,
        mechanism: &str,
        secret: &[u8],
        virtual_host: &str,
    ) -> Result<Self, String> {
        let mut client = Self { stream };
        client
            .stream
            .write_all(b"AMQP\x00\x00\x09\x01")
            .map_err(|error| error.to_string())?;
        let offered = client.expect(START)?;
        let offered = String::from_utf8_lossy(&offered);
        if !offered.contains(mechanism) {
            return Err(format!("{mechanism} is not offered"));
        }
        // Without these capabilities the server neither says why it refuses a login nor that it takes no messages.
        let mut capabilities = Vec::new();
        for name in ["authentication_failure_close", "connection.blocked"] {
            capabilities.extend(short(name));
            capabilities.extend(b"t\x01");
        }
        let mut properties = short("capabilities");
        properties.extend(b"F");
        properties.extend(long(&capabilities));
        let answer = [long(&properties), short(mechanism), long(secret), short("en_US")].concat();
        client.send(0, START_OK, &answer);
        let proposed = client.expect(TUNE)?;
        client.send(0, TUNE_OK, &proposed);
        client.send(0, OPEN, &[short(virtual_host), short(""), vec![0]].concat());
        client.expect(OPEN_OK)?;
        Ok(client)
    }

    /// Opens a channel.
    pub(crate) fn open(&mut self, channel: u16) {
        self.send(channel, CHANNEL_OPEN, &short(""));
        self.expect(CHANNEL_OPEN_OK).unwrap();
    }

    /// Declares a durable queue on an open channel; the error is what the server says.
    pub(crate) fn declare(&mut self, channel: u16, queue: &str) -> Result<(), String> {
        const DURABLE: u8 = 2;
        let arguments = [vec![0, 0], short(queue), vec![DURABLE], long(&[])].concat();
        self.send(channel, DECLARE, &arguments);
        self.expect(DECLARE_OK).map(drop)
    }

    /// Publishes a message to a queue on an open channel.
    pub(crate) fn publish(&mut self, channel: u16, queue: &str, payload: &[u8]) {
        let to = [vec![0, 0], short(""), short(queue), vec![0]].concat();
        self.send(channel, PUBLISH, &to);
        let length = (payload.len() as u64).to_be_bytes();
        self.frame(2, channel, &[&[0, 60, 0, 0], length.as_slice(), &[0, 0]].concat());
        self.frame(3, channel, payload);
    }

    /// Waits for a method and gives what it carries.
    pub(crate) fn expect(&mut self, method: Method) -> Result<Vec<u8>, String> {
        const HEARTBEAT: u8 = 8;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (kind, body) = self.next()?;
            if kind == HEARTBEAT && Instant::now() < deadline {
                continue;
            }
            if kind == HEARTBEAT {
                return Err(format!("{method:?} never came"));
            }
            let found = (
                u16::from_be_bytes([body[0], body[1]]),
                u16::from_be_bytes([body[2], body[3]]),
            );
            match found {
                _ if found == method => return Ok(body[4..].to_vec()),
                CLOSE | CHANNEL_CLOSE => return Err(String::from_utf8_lossy(&body[6..]).into_owned()),
                _ => return Err(format!("{found:?} came in place of {method:?}")),
            }
        }
    }

    /// Waits until the server ends the connection, and gives its words.
    pub(crate) fn end(&mut self) -> String {
        self.expect((0, 0)).unwrap_err()
    }

    fn next(&mut self) -> Result<(u8, Vec<u8>), String> {
        let mut head = [0; 7];
        let gone = |error: std::io::Error| format!("the connection ended: {error}");
        self.stream.read_exact(&mut head).map_err(gone)?;
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut body = vec![0; length as usize + 1];
        self.stream.read_exact(&mut body).map_err(gone)?;
        body.pop();
        Ok((head[0], body))
    }

    fn send(&mut self, channel: u16, method: Method, arguments: &[u8]) {
        let head = [method.0.to_be_bytes(), method.1.to_be_bytes()].concat();
        self.frame(1, channel, &[&head, arguments].concat());
    }

    fn frame(&mut self, kind: u8, channel: u16, body: &[u8]) {
        let length = (body.len() as u32).to_be_bytes();
        let head = [&[kind], channel.to_be_bytes().as_slice(), &length].concat();
        let frame = [head.as_slice(), body, &[0xCE]].concat();
        // Whether the server is there shows when it is read from.
        let _ = self.stream.write_all(&frame);
    }
}

fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}
