//! Responses that are made up: what servers send rarely, and what they must not send.

use super::*;
use crate::core::mysql::protocol::packet::{MAX_PACKET, frame, frame_into};
use crate::core::mysql::protocol::status::StatusFlags;
use proptest::prelude::*;

const EOF: Capabilities = Capabilities::PROTOCOL_41;
const NO_EOF: Capabilities = Capabilities(EOF.0 | Capabilities::DEPRECATE_EOF.0);
const OPTIONAL: Capabilities = Capabilities(NO_EOF.0 | Capabilities::OPTIONAL_RESULTSET_METADATA.0);

fn stream(payloads: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = 1;
    for payload in payloads {
        sequence = frame_into(&mut out, sequence, payload);
    }
    out
}

const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
const END: &[u8] = &[0xfe, 0, 0, 2, 0, 0, 0];
const EOF_PACKET: &[u8] = &[0xfe, 0, 0, 2, 0];
const COLUMN: &[u8] = b"\x03def...";

#[test]
fn commands_without_a_response_are_done_at_once() {
    for command in [Command::StmtClose, Command::StmtSendLongData, Command::Quit] {
        assert!(ResponseTracker::new(command, EOF).is_done());
    }
    assert!(!ResponseTracker::new(Command::Ping, EOF).is_done());
}

#[test]
fn rows_that_begin_with_null_or_nothing_are_rows() {
    let rows: [&[u8]; 4] = [b"\xfb\x01a", b"\x00", b"\xfc\x01\x00a", b"\xfd\x01\x00\x00a"];
    let sent = stream(&[&[1], COLUMN, rows[0], rows[1], rows[2], rows[3], END]);
    assert_eq!(pieces(Command::Query, NO_EOF, &sent).letters(), "RO");
}

#[test]
fn a_row_whose_first_value_is_over_16_mb_is_no_end() {
    let mut row = vec![0xfe];
    row.extend_from_slice(&(1_u64 << 24).to_le_bytes());
    row.resize(9 + (1 << 24), 0xfe);
    for (capabilities, middle, end) in [(NO_EOF, None, END), (EOF, Some(EOF_PACKET), EOF_PACKET)] {
        let mut payloads: Vec<&[u8]> = vec![&[1], COLUMN];
        payloads.extend(middle);
        payloads.extend([&row[..], b"\x01a", end]);
        let sent = stream(&payloads);
        for cuts in [&[][..], &[1000, 65_536], &[sent.len() / 2, 3, MAX_PACKET]] {
            let outcome = follow(Command::Query, capabilities, &sent, cuts);
            assert!(outcome.done && outcome.bytes == sent, "{cuts:?}");
            assert_eq!(outcome.pieces.len(), if middle.is_some() { 3 } else { 2 });
        }
    }
}

#[test]
fn what_continues_a_row_is_neither_end_nor_error() {
    for first in [0xfe, 0xff, 0x00, 0xfb] {
        let mut row = vec![b'x'; MAX_PACKET];
        row.extend_from_slice(&[first, 0, 0, 2, 0]);
        let sent = stream(&[&[1], COLUMN, &row, END]);
        for cuts in [&[][..], &[65_536], &[MAX_PACKET - 3, 1]] {
            let outcome = follow(Command::Query, NO_EOF, &sent, cuts);
            assert!(outcome.done && outcome.bytes == sent);
            assert_eq!(outcome.letters(), "RO");
        }
    }
}

#[test]
fn a_row_of_exactly_the_maximum_ends_with_an_empty_packet() {
    let row = vec![b'x'; MAX_PACKET];
    let sent = stream(&[&[1], COLUMN, &row, b"\x01a", END]);
    let outcome = follow(Command::Query, NO_EOF, &sent, &[70_000]);
    assert!(outcome.done && outcome.bytes == sent && outcome.letters() == "RO");
}

#[test]
fn the_last_definition_may_be_long_too() {
    let definition = vec![3; MAX_PACKET + 2];
    let prepared = [0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let sent = stream(&[&prepared, &definition]);
    for cuts in [&[][..], &[70_000]] {
        let outcome = follow(Command::StmtPrepare, NO_EOF, &sent, cuts);
        assert!(outcome.done && outcome.bytes == sent && outcome.left == 0);
    }
}

#[test]
fn whole_rows_count_for_the_sequence() {
    let mut tracker = ResponseTracker::new(Command::Query, NO_EOF);
    let sent = stream(&[&[1], COLUMN, b"\x01a", b"\x01b"]);
    let mut input = &sent[..];
    while tracker.next_piece(&mut input).unwrap().is_some() {}
    assert_eq!(tracker.last_sequence(), Some(4));
}

#[test]
fn an_end_of_9_bytes_and_more_is_an_ok_packet_only_without_eofs() {
    let long_end: &[u8] = &[0xfe, 0, 0, 2, 0, 0, 0, 3, b'a', b'b', b'c'];
    let sent = stream(&[&[1], COLUMN, long_end]);
    assert!(pieces(Command::Query, NO_EOF, &sent).done);
    let sent = stream(&[&[1], COLUMN, EOF_PACKET, long_end]);
    assert!(!follow(Command::Query, EOF, &sent, &[]).done);
}

#[test]
fn columns_left_out_by_mysql_are_not_waited_for() {
    let sent = stream(&[&[2, 0], b"\x01a\x01b", END]);
    assert_eq!(pieces(Command::Query, OPTIONAL, &sent).letters(), "RO");
    let sent = stream(&[&[2, 1], COLUMN, COLUMN, b"\x01a\x01b", END]);
    assert_eq!(pieces(Command::Query, OPTIONAL, &sent).letters(), "RO");
    let prepared = [0, 9, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    let outcome = pieces(Command::StmtPrepare, OPTIONAL, &stream(&[&prepared]));
    let Piece::Prepared(statement, raw) = &outcome.pieces[0] else { panic!() };
    assert_eq!((statement.id, statement.metadata_follows), (9, false));
    assert_eq!(raw.with_statement_id(0x0102_0304)[5..9], [4, 3, 2, 1]);
}

#[test]
fn rows_that_end_with_an_eof_may_hide_a_gtid() {
    for (capabilities, payloads, hides) in [
        (EOF, vec![&[1][..], COLUMN, EOF_PACKET, EOF_PACKET], true),
        (NO_EOF, vec![&[1][..], COLUMN, END], false),
        (EOF, vec![OK], false),
    ] {
        let sent = stream(&payloads);
        let mut tracker = ResponseTracker::new(Command::Query, capabilities);
        let mut input = &sent[..];
        while tracker.next_piece(&mut input).unwrap().is_some() {}
        assert!(tracker.is_done());
        assert_eq!(tracker.hides_changes(), hides);
    }
}

#[test]
fn definitions_left_out_still_have_their_eofs() {
    // MySQL 9.7, resultset_metadata = NONE, a statement with two parameters and three columns.
    let sent = hex("0d000001 000b000000030002000000000005000002 fe00000200 05000003 fe00000200");
    let capabilities = EOF | Capabilities::OPTIONAL_RESULTSET_METADATA;
    assert_eq!(pieces(Command::StmtPrepare, capabilities, &sent).letters(), "PEE");
}

#[test]
fn out_parameters_are_followed_by_a_result_though_their_end_does_not_say_so() {
    // MySQL 9.7, CALL with an OUT parameter: only the first EOF has the flags.
    let sent = hex(
        "02000001 0101 22000002 03646566 087265616c74657374 016f016f01620162 0c 3f00 0b000000 03 0000 00 0000 \
         05000003 fe01000a10 06000004 000006000000 05000005 fe00000200 07000006 00010002000100",
    );
    let capabilities = EOF | Capabilities::OPTIONAL_RESULTSET_METADATA;
    assert_eq!(pieces(Command::StmtExecute, capabilities, &sent).letters(), "REEO");
}

#[test]
fn a_progress_report_ends_nothing_for_a_client_that_asked() {
    let progress: &[u8] = &[0xff, 0xff, 0xff, 1, 1, 2, 0, 0, 0, 1, b'x'];
    let asked = NO_EOF | Capabilities::MARIADB_PROGRESS;
    let sent = stream(&[progress, &[1], COLUMN, b"\x01a", progress, b"\x01b", END]);
    assert_eq!(pieces(Command::Query, asked, &sent).letters(), "GRGO");
    assert_eq!(pieces(Command::Query, NO_EOF, &stream(&[progress])).letters(), "X");
}

#[test]
fn what_comes_after_the_end_stays_for_the_next_response() {
    let sent = stream(&[OK, OK]);
    let outcome = follow(Command::Ping, EOF, &sent, &[]);
    assert!(outcome.done);
    assert_eq!(outcome.left, 11);
}

#[test]
fn a_login_goes_on_until_ok() {
    let sent = stream(&[b"\xfemysql_native_password\0abc\0", b"\x01\x03", OK]);
    assert_eq!(pieces(Command::ChangeUser, EOF, &sent).letters(), "AAO");
}

#[test]
fn the_tracker_waits_while_the_client_sends_its_file() {
    let mut tracker = ResponseTracker::new(Command::Query, EOF);
    let sent = stream(&[b"\xfb/tmp/x"]);
    let mut input = &sent[..];
    let piece = tracker.next_piece(&mut input).unwrap().unwrap();
    assert!(matches!(piece, Piece::LocalInfile { name, .. } if name == b"/tmp/x"));
    assert!(tracker.awaits_infile() && !tracker.is_done());
    let answer = frame(4, OK);
    assert!(matches!(tracker.next_piece(&mut &answer[..]), Ok(Some(Piece::Ok(..)))));
    assert!(!tracker.awaits_infile() && tracker.is_done());
    assert_eq!(tracker.last_sequence(), Some(4));
}

#[test]
fn a_broken_response_is_an_error() {
    for (command, payload, error) in [
        (Command::Ping, &[0x05, 1][..], ResponseError::Unexpected(5)),
        (Command::Ping, &[], ResponseError::Empty),
        (Command::StmtPrepare, &[0xfe, 0, 0, 0, 0], ResponseError::Unexpected(0xfe)),
    ] {
        assert_eq!(follow(command, EOF, &stream(&[payload]), &[]).error, Some(error));
    }
    assert!(follow(Command::Ping, EOF, &stream(&[&[0, 0xff]]), &[]).error.is_some());
    let long = vec![0; MAX_PACKET];
    assert_eq!(follow(Command::Ping, EOF, &stream(&[&long]), &[]).error, Some(ResponseError::TooLong));
}

#[test]
fn an_error_can_take_the_place_of_the_rest() {
    let mut tracker = ResponseTracker::new(Command::Query, NO_EOF);
    let sent = stream(&[&[1], COLUMN, b"\x05abcde"]);
    let mut input = &sent[..sent.len() - 2];
    while tracker.next_piece(&mut input).unwrap().is_some() {}
    assert!(!tracker.is_between_packets());
    let mut input = &sent[sent.len() - 2..];
    while tracker.next_piece(&mut input).unwrap().is_some() {}
    assert!(tracker.is_between_packets());
    let error = ServerError::ConnectionKilled.packet();
    let packet = tracker.error_in_place_of_the_rest(&error);
    let mut whole = sent.clone();
    whole.extend_from_slice(&packet);
    assert_eq!(packet[3], 4);
    assert_eq!(pieces(Command::Query, NO_EOF, &whole).letters(), "RX");
}

#[derive(Debug, Clone)]
struct MadeUp {
    columns: u8,
    rows: Vec<Vec<u8>>,
    is_set: bool,
}

fn results() -> impl Strategy<Value = Vec<MadeUp>> {
    let row = prop::collection::vec(0_u8..0xfe, 1..30);
    let one = (1_u8..5, prop::collection::vec(row, 0..8), any::<bool>())
        .prop_map(|(columns, rows, is_set)| MadeUp { columns, rows, is_set });
    prop::collection::vec(one, 1..5)
}

/// The stream of some results, and the letters it must give.
fn write(results: &[MadeUp], eofs: bool) -> (Vec<u8>, String) {
    let (mut payloads, mut letters) = (Vec::new(), String::new());
    for (index, result) in results.iter().enumerate() {
        let more = if index + 1 < results.len() { StatusFlags::MORE_RESULTS.0 } else { 0 };
        let [low, high] = more.to_le_bytes();
        if !result.is_set {
            payloads.push(vec![0, 1, 0, low, high, 0, 0]);
            letters.push('O');
            continue;
        }
        payloads.push(vec![result.columns]);
        payloads.extend(std::iter::repeat_n(COLUMN.to_vec(), usize::from(result.columns)));
        let end = if eofs { vec![0xfe, 0, 0, low, high] } else { vec![0xfe, 0, 0, low, high, 0, 0] };
        if eofs {
            payloads.push(end.clone());
        }
        payloads.extend(result.rows.iter().cloned());
        payloads.push(end);
        letters.push_str(if eofs { "REE" } else { "RO" });
    }
    (stream(&payloads.iter().map(Vec::as_slice).collect::<Vec<_>>()), letters)
}

proptest! {
    #[test]
    fn any_results_are_found_however_they_are_cut(results in results(), eofs in any::<bool>(), cuts in prop::collection::vec(1_usize..40, 1..30)) {
        let (sent, letters) = write(&results, eofs);
        let capabilities = if eofs { EOF } else { NO_EOF };
        let outcome = follow(Command::StmtExecute, capabilities, &sent, &cuts);
        prop_assert_eq!(outcome.letters(), letters);
        prop_assert!(outcome.done && outcome.error.is_none() && outcome.bytes == sent);
        let short = follow(Command::StmtExecute, capabilities, &sent[..sent.len() - 1], &cuts);
        prop_assert!(!short.done, "done before the end");
    }

    #[test]
    fn any_bytes_never_panic_and_cuts_never_matter(
        sent in prop::collection::vec(prop_oneof![Just(0_u8), Just(0xfe), Just(0xff), 0_u8..9, any::<u8>()], 0..200),
        flags in any::<u64>(), command in any::<u8>(), cuts in prop::collection::vec(1_usize..9, 1..20),
    ) {
        let (command, capabilities) = (Command::from_byte(command), Capabilities(flags));
        let whole = follow(command, capabilities, &sent, &[]);
        let cut = follow(command, capabilities, &sent, &cuts);
        prop_assert!(sent.starts_with(&whole.bytes));
        prop_assert_eq!(&whole.pieces, &cut.pieces);
        prop_assert_eq!((whole.done, whole.error), (cut.done, cut.error));
    }
}
