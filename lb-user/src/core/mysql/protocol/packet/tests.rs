//! Tests of frames and basic data types.

use super::*;
use proptest::prelude::*;

#[test]
fn a_length_encoded_integer_has_four_sizes() {
    for (value, size) in
        [(0, 1), (250, 1), (251, 3), (0xffff, 3), (0x1_0000, 4), (0xff_ffff, 4), (1 << 24, 9)]
    {
        let mut writer = Writer::new();
        writer.lenenc_int(value);
        let bytes = writer.finish();
        assert_eq!(bytes.len(), size, "{value}");
        assert_eq!(Reader::new(&bytes).lenenc_int(), Ok(value));
    }
}

#[test]
fn null_and_error_markers_are_not_integers() {
    assert_eq!(Reader::new(&[0xfb]).lenenc_int(), Err(ReadError::NotAnInteger(0xfb)));
    assert_eq!(Reader::new(&[0xff]).lenenc_int(), Err(ReadError::NotAnInteger(0xff)));
    assert_eq!(Reader::new(&[0xfc, 1]).lenenc_int(), Err(ReadError::Truncated));
}

#[test]
fn a_length_beyond_the_payload_is_an_error() {
    let payload = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b'a'];
    assert!(Reader::new(&payload).lenenc_bytes().is_err());
}

#[test]
fn a_payload_of_exactly_the_maximum_ends_with_an_empty_packet() {
    let framed = frame(254, &vec![7; MAX_PACKET]);
    assert_eq!(framed.len(), MAX_PACKET + 8);
    assert_eq!(framed[framed.len() - 4..], [0, 0, 0, 255]);
    let mut out = Vec::new();
    assert_eq!(frame_into(&mut out, 255, b"x"), 0);
}

/// Scans `stream` in slices of the given lengths and puts the payloads together.
fn payloads(stream: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut scanner = PacketScanner::new();
    let (mut all, mut current) = (Vec::new(), Vec::new());
    let mut rest = stream;
    let mut cuts = cuts.iter().copied().chain(std::iter::repeat(stream.len().max(1)));
    while !rest.is_empty() {
        let (mut slice, after) = rest.split_at(cuts.next().unwrap().clamp(1, rest.len()));
        while let Some(found) = scanner.scan(&mut slice) {
            if let Scanned::Body { bytes, ends_payload } = found {
                current.extend_from_slice(bytes);
                if ends_payload {
                    all.push(std::mem::take(&mut current));
                }
            }
        }
        rest = after;
    }
    assert!(scanner.is_at_boundary());
    all
}

#[test]
fn a_long_payload_is_put_together_from_its_packets() {
    let long = vec![9; MAX_PACKET + 5];
    let mut stream = frame(0, &long);
    frame_into(&mut stream, 2, b"next");
    assert_eq!(payloads(&stream, &[3, 100, MAX_PACKET - 2, 9]), [long, b"next".to_vec()]);
}

proptest! {
    #[test]
    fn payloads_survive_any_cutting(
        sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
        cuts in prop::collection::vec(1_usize..9, 0..40),
    ) {
        let mut stream = Vec::new();
        let mut sequence = 250;
        for payload in &sent {
            sequence = frame_into(&mut stream, sequence, payload);
        }
        prop_assert_eq!(payloads(&stream, &cuts), sent);
    }

    #[test]
    fn any_integer_survives_the_round_trip(value in any::<u64>(), text in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut writer = Writer::new();
        writer.lenenc_int(value).lenenc_bytes(&text).u16(7).u32(8);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.lenenc_int(), Ok(value));
        prop_assert_eq!(reader.lenenc_bytes(), Ok(&text[..]));
        prop_assert_eq!(reader.u16(), Ok(7));
        prop_assert_eq!(reader.u32(), Ok(8));
        prop_assert!(reader.is_empty());
    }
}
