//! The bytes themselves, pinned: a change here needs a new format version.

use crate::support::*;
use crate::verifying::compact;
use tidings_log::LogError;

#[test]
fn a_segment_stands_in_the_file_as_documented() {
    let files = memory();
    let log = open(&files, single());
    let records = [
        Rec {
            time: 1_000,
            key: Some(b"k".to_vec()),
            headers: b"hh".to_vec(),
            payload: Some(b"ppp".to_vec()),
        },
        Rec {
            time: 998,
            key: None,
            headers: Vec::new(),
            payload: None,
        },
        Rec {
            time: 1_200,
            key: Some(Vec::new()),
            headers: Vec::new(),
            payload: Some(Vec::new()),
        },
    ];
    append(&log, &records);
    let bytes = contents(&*files, "00000000000000000000.log");
    assert_eq!(&bytes[..12], b"TIDINGSL\x01\0\0\0");
    assert_eq!(bytes[12..20], 0_u64.to_le_bytes());
    let seed = crc32c::crc32c(&bytes[..28]);
    assert_eq!(bytes[28..32], seed.to_le_bytes());

    let body = b"\x00\x02\x02\x04khhppp\x03\x00\x00\x00\x90\x03\x01\x00\x01";
    let mut header = Vec::new();
    header.extend(crc32c::crc32c(body).to_le_bytes());
    header.extend((body.len() as u32).to_le_bytes());
    header.extend(0_u64.to_le_bytes());
    header.extend(3_u32.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    header.extend(1_000_i64.to_le_bytes());
    header.extend(1_200_i64.to_le_bytes());
    header.extend(32_u64.to_le_bytes());
    assert_eq!(bytes[32..36], [0x9d, b'T', b'F', 0xf1]);
    assert_eq!(bytes[36..40], crc32c::crc32c_append(seed, &header).to_le_bytes());
    assert_eq!(bytes[40..88], header);
    assert_eq!(&bytes[88..], body);
}

#[test]
fn the_sync_mark_stands_in_the_file_as_documented() {
    let files = memory();
    let log = open(&files, single());
    append(&log, &recs(0..3));
    log.sync().unwrap();
    let segment = contents(&*files, "00000000000000000000.log");
    let mut expected = b"TIDINGSM\x01\0\0\0".to_vec();
    expected.extend(&segment[28..32]);
    expected.extend(0_u64.to_le_bytes());
    expected.extend((segment.len() as u64).to_le_bytes());
    expected.extend(3_u64.to_le_bytes());
    expected.extend(crc32c::crc32c(&expected).to_le_bytes());
    assert_eq!(contents(&*files, "synced"), expected);
}

#[test]
fn a_newer_format_is_refused_with_both_versions_and_the_cure() {
    let files = memory();
    let log = open(&files, small());
    append_numbers(&log, 0..10, 5);
    drop(log);
    let name = segment_names(&*files).pop().unwrap();
    let mut bytes = contents(&*files, &name);
    bytes[8] = 9;
    let sum = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&sum.to_le_bytes());
    replace(&*files, &name, &bytes);
    for options in [small(), read_only(small())] {
        let error = try_open(&files, options).unwrap_err();
        assert!(
            matches!(
                error,
                LogError::NewerVersion {
                    found: 9,
                    supported: 2,
                    ..
                }
            ),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains(&name) && text.contains("use the release that wrote it"),
            "{text}"
        );
    }
    assert_eq!(
        contents(&*files, &name),
        bytes,
        "what is refused is left as it is"
    );
}

#[test]
fn a_rewritten_segment_stands_in_the_file_as_documented() {
    let files = memory();
    let log = open(&files, small());
    let keyed = |number: i64, payload: &[u8]| Rec {
        time: 1_000 + number,
        key: Some(b"k".to_vec()),
        headers: Vec::new(),
        payload: Some(payload.to_vec()),
    };
    append(
        &log,
        &[keyed(0, b"old"), rec(5), keyed(2, b"old"), keyed(3, b"new")],
    );
    append(
        &log,
        &[Rec {
            time: 0,
            ..keyed(4, &[0; 600])
        }],
    );
    append(&log, &[rec(10)]);
    compact(&log);
    let bytes = contents(&*files, "00000000000000000000.log");
    assert_eq!(&bytes[..12], b"TIDINGSL\x02\0\0\0");
    assert_eq!(bytes[24..28], 1_700_000_001_u32.to_le_bytes(), "rounded up");
    let seed = crc32c::crc32c(&bytes[..28]);
    assert_eq!(bytes[28..32], seed.to_le_bytes());
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    // It stands for four offsets from 0 on, and has the record of the second: the others have a later one.
    assert_eq!(
        (&bytes[48..56], number(56), number(60)),
        ([0; 8].as_slice(), 4, 1)
    );
    assert_eq!(
        &bytes[88..90],
        [1, 1],
        "one record, and an offset before it that has none"
    );
    let header = &bytes[40..88];
    assert_eq!(bytes[36..40], crc32c::crc32c_append(seed, header).to_le_bytes());
    assert_eq!(bytes[40..44], crc32c::crc32c(&bytes[88..]).to_le_bytes());
    assert_eq!(bytes[80..88], 32_u64.to_le_bytes());
}
