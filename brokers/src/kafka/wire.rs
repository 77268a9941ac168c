//! The three questions of Kafka's protocol that starting and watching it takes, in their oldest versions.
//!
//! A client library would answer them too, but this crate must tell whether a broker is ready without one, and must not
//! build C code for every program that starts a server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::BrokersError;

const PATIENCE: Duration = Duration::from_secs(5);
/// An answer about a topic of thousands of partitions stays far below.
const ANSWER_AT_MOST: usize = 16 << 20;

const METADATA: (i16, i16) = (3, 4);
const FIND_COORDINATOR: (i16, i16) = (10, 1);

/// What a broker says about a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionState {
    /// Its number.
    pub partition: u32,
    /// The node that leads it; `None` while there is none.
    pub leader: Option<u32>,
    /// The nodes that have everything.
    pub in_sync: Vec<u32>,
}

/// Whose coordinator is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coordinated {
    Group = 0,
    Transaction = 1,
}

/// The brokers and, of one topic, the partitions that a broker knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) brokers: Vec<u32>,
    pub(crate) partitions: Vec<PartitionState>,
}

/// Asks a broker for its metadata, with or without a topic.
pub(crate) fn metadata(port: u16, topic: Option<&str>) -> Result<Metadata, BrokersError> {
    let mut body = Vec::new();
    let topics: Vec<&str> = topic.into_iter().collect();
    put_i32(&mut body, topics.len() as i32);
    for topic in topics {
        put_string(&mut body, topic);
    }
    // Asking for a topic must not make it.
    body.push(0);
    let answer = ask(port, METADATA, &body)?;
    parse_metadata(&answer)
        .ok_or_else(|| unreadable(port))?
        .map_err(|code| refused(port, code))
}

/// Asks which node coordinates a group or a transactional id.
pub(crate) fn coordinator(port: u16, kind: Coordinated, name: &str) -> Result<u32, BrokersError> {
    let mut body = Vec::new();
    put_string(&mut body, name);
    body.push(kind as u8);
    let answer = ask(port, FIND_COORDINATOR, &body)?;
    parse_coordinator(&answer)
        .ok_or_else(|| unreadable(port))?
        .map_err(|code| refused(port, code))
}

fn ask(port: u16, (key, version): (i16, i16), body: &[u8]) -> Result<Vec<u8>, BrokersError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    exchange(address, key, version, body).map_err(BrokersError::io("ask", address.to_string()))
}

fn exchange(address: SocketAddr, key: i16, version: i16, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    put_i32(&mut request, 1);
    put_string(&mut request, "brokers");
    request.extend_from_slice(body);
    let mut frame = (request.len() as u32).to_be_bytes().to_vec();
    frame.append(&mut request);

    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&frame)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > ANSWER_AT_MOST {
        return Err(std::io::Error::other(format!(
            "it answers {length} bytes, which is no Kafka"
        )));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn put_i32(bytes: &mut Vec<u8>, value: i32) {
    bytes.extend(value.to_be_bytes());
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as i16).to_be_bytes());
    bytes.extend(text.as_bytes());
}

/// Reads from the front; `None` when too little is left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    /// A string that may be null, which nobody here reads.
    fn skip_string(&mut self) -> Option<()> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        self.0 = self.0.get(length..)?;
        Some(())
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.i32()?;
        (0..count).map(|_| item(self)).collect()
    }

    fn node(&mut self) -> Option<u32> {
        self.i32().map(|node| u32::try_from(node).unwrap_or(u32::MAX))
    }
}

/// The outer `None` is an answer that cannot be read, the error a code of Kafka's.
fn parse_metadata(answer: &[u8]) -> Option<Result<Metadata, i16>> {
    let mut reader = Reader(answer);
    let _correlation_and_throttle = (reader.i32()?, reader.i32()?);
    let brokers = reader.list(|reader| {
        let node = reader.node()?;
        reader.skip_string()?;
        reader.i32()?;
        reader.skip_string()?;
        Some(node)
    })?;
    reader.skip_string()?;
    let _controller = reader.i32()?;
    let topics = reader.list(|reader| {
        let error = reader.i16()?;
        reader.skip_string()?;
        reader.take::<1>()?;
        Some((error, reader.list(parse_partition)?))
    })?;
    if let Some((error, _)) = topics.iter().find(|(error, _)| *error != 0) {
        return Some(Err(*error));
    }
    let mut partitions: Vec<_> = topics
        .into_iter()
        .flat_map(|(_, partitions)| partitions)
        .collect();
    partitions.sort_by_key(|state| state.partition);
    Some(Ok(Metadata { brokers, partitions }))
}

fn parse_partition(reader: &mut Reader<'_>) -> Option<PartitionState> {
    let _error = reader.i16()?;
    let partition = reader.node()?;
    let leader = u32::try_from(reader.i32()?).ok();
    let _replicas = reader.list(Reader::node)?;
    let in_sync = reader.list(Reader::node)?;
    Some(PartitionState {
        partition,
        leader,
        in_sync,
    })
}

fn parse_coordinator(answer: &[u8]) -> Option<Result<u32, i16>> {
    let mut reader = Reader(answer);
    let _correlation_and_throttle = (reader.i32()?, reader.i32()?);
    let error = reader.i16()?;
    reader.skip_string()?;
    let node = reader.node()?;
    Some(if error == 0 { Ok(node) } else { Err(error) })
}

fn unreadable(port: u16) -> BrokersError {
    BrokersError::Protocol {
        address: format!("127.0.0.1:{port}"),
        problem: "answered what could not be read; is something else listening there?".into(),
    }
}

fn refused(port: u16, code: i16) -> BrokersError {
    let meaning = match code {
        3 => ", the topic does not exist",
        5 => ", there is no leader yet",
        15 => ", there is no coordinator yet",
        _ => "",
    };
    BrokersError::Protocol {
        address: format!("127.0.0.1:{port}"),
        problem: format!("answered with Kafka's error {code}{meaning}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Vec<u8> {
        let mut bytes = Vec::new();
        put_i32(&mut bytes, 1);
        put_i32(&mut bytes, 0);
        put_i32(&mut bytes, 1);
        put_i32(&mut bytes, 2);
        put_string(&mut bytes, "127.0.0.1");
        put_i32(&mut bytes, 9092);
        bytes.extend((-1_i16).to_be_bytes());
        put_string(&mut bytes, "cluster");
        put_i32(&mut bytes, 2);
        put_i32(&mut bytes, 1);
        bytes.extend(0_i16.to_be_bytes());
        put_string(&mut bytes, "orders");
        bytes.push(0);
        put_i32(&mut bytes, 1);
        bytes.extend(5_i16.to_be_bytes());
        for number in [0, -1, 2, 2, 3, 1, 3] {
            put_i32(&mut bytes, number);
        }
        bytes
    }

    #[test]
    fn metadata_names_brokers_leaders_and_who_is_in_sync() {
        let expected = PartitionState {
            partition: 0,
            leader: None,
            in_sync: vec![3],
        };
        let read = parse_metadata(&answer()).unwrap().unwrap();
        assert_eq!((read.brokers, read.partitions), (vec![2], vec![expected]));
    }

    #[test]
    fn an_answer_cut_anywhere_is_refused_and_never_panics() {
        let whole = answer();
        for length in 0..whole.len() {
            assert_eq!(parse_metadata(&whole[..length]), None, "{length}");
            parse_coordinator(&whole[..length]);
        }
    }
}
