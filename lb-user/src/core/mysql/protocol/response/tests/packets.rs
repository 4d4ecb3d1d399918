//! OK, ERR and EOF packets, and what they say of the session.

use super::*;
use crate::core::mysql::protocol::status::StatusFlags;
use proptest::prelude::*;

const TRACKED: Capabilities = Capabilities(Capabilities::PROTOCOL_41.0 | Capabilities::SESSION_TRACK.0);
const UNTRACKED: Capabilities = Capabilities::PROTOCOL_41;

fn changes() -> SessionChanges {
    let mut changes = SessionChanges::default();
    changes.push(&SessionChange::SystemVariable { name: b"autocommit", value: b"ON" });
    changes.push(&SessionChange::Schema(b"shop"));
    changes.push(&SessionChange::StateChange(true));
    changes.push(&SessionChange::Gtids(b"3e11fa47-71ca-11e1-9e33-c80aa9429562:23"));
    changes.push(&SessionChange::TransactionCharacteristics(b"START TRANSACTION;"));
    changes.push(&SessionChange::TransactionState(b"T_______"));
    changes.push(&SessionChange::Other { kind: 77, data: b"new" });
    changes
}

fn tracked_ok() -> OkPacket {
    OkPacket {
        changes: changes(),
        info: b"words".to_vec(),
        ..OkPacket::plain(StatusFlags::SESSION_STATE_CHANGED)
    }
}

#[test]
fn every_kind_of_change_survives_the_round_trip() {
    let packet = tracked_ok();
    let back = OkPacket::parse(&packet.encode(TRACKED), TRACKED).unwrap();
    assert_eq!(back, packet);
    assert_eq!(back.changes.iter().count(), 7);
    assert_eq!(back.changes.gtids(), Some(&b"3e11fa47-71ca-11e1-9e33-c80aa9429562:23"[..]));
    assert_eq!(back.changes.system_variable("AUTOCOMMIT"), Some(&b"ON"[..]));
}

#[test]
fn a_client_without_tracking_gets_neither_changes_nor_their_flag() {
    let back = OkPacket::parse(&tracked_ok().encode(UNTRACKED), UNTRACKED).unwrap();
    assert!(back.changes.is_empty());
    assert_eq!(back.status, StatusFlags::default());
    assert_eq!(back.info, b"words");
}

#[test]
fn a_packet_without_changes_left_says_so() {
    let packet = tracked_ok().filtered(|_| false);
    let encoded = packet.encode(TRACKED);
    let back = OkPacket::parse(&encoded, TRACKED).unwrap();
    assert!(!back.status.contains(StatusFlags::SESSION_STATE_CHANGED));
    assert!(back.changes.is_empty());
}

#[test]
fn only_the_unwanted_changes_go() {
    let keep = |change: &SessionChange<'_>| !matches!(change, SessionChange::Gtids(_));
    let packet = tracked_ok().filtered(keep);
    assert_eq!(packet.changes.gtids(), None);
    assert_eq!(packet.changes.iter().count(), 6);
    let all = changes().filtered(|_| true);
    assert_eq!(all, changes());
}

#[test]
fn of_several_variables_in_one_entry_one_can_go() {
    // One entry, two variables: a=1 and b=2.
    let list = SessionChanges::from_bytes(b"\x00\x08\x01a\x011\x01b\x012");
    assert_eq!(list.iter().count(), 2);
    let kept =
        list.filtered(|change| matches!(change, SessionChange::SystemVariable { name, .. } if *name == b"b"));
    assert_eq!(kept.as_bytes(), b"\x00\x04\x01b\x012");
}

#[test]
fn a_flag_of_state_change_may_have_a_length_before_it() {
    for list in [&b"\x02\x01\x31"[..], b"\x02\x02\x01\x31"] {
        let changes = SessionChanges::from_bytes(list);
        assert_eq!(changes.iter().collect::<Vec<_>>(), [SessionChange::StateChange(true)]);
        assert_eq!(changes.filtered(|_| true).as_bytes(), list);
    }
}

#[test]
fn words_without_tracking_may_lack_their_length() {
    let with = OkPacket::parse(b"\x00\x01\x00\x02\x00\x00\x00\x05words", UNTRACKED).unwrap();
    let without = OkPacket::parse(b"\x00\x01\x00\x02\x00\x00\x00words", UNTRACKED).unwrap();
    assert_eq!(with, without);
    assert_eq!(with.affected_rows, 1);
}

#[test]
fn the_gtid_mariadb_tells_is_a_variable() {
    // MariaDB 10.11 after an INSERT with session_track_system_variables = last_gtid.
    let payload = hex("00 01 01 0240 0000 00 13 00 11 09 6c6173745f67746964 06 302d372d3239");
    let packet = OkPacket::parse(&payload, TRACKED).unwrap();
    assert_eq!(packet.changes.system_variable("last_gtid"), Some(&b"0-7-29"[..]));
    assert_eq!(packet.encode(TRACKED), payload);
}

#[test]
fn an_error_before_the_capabilities_are_known_has_no_sql_state() {
    let error = ServerError::TooManyConnections.packet();
    let early = error.encode(Capabilities::default());
    assert_eq!(early, b"\xff\x10\x04Too many connections");
    assert_eq!(ErrPacket::parse(&early).unwrap().sql_state, None);
    assert_eq!(ErrPacket::parse(&error.encode(UNTRACKED)).unwrap(), error);
}

#[test]
fn no_error_of_the_proxy_is_one_of_a_client_library() {
    let denied = ServerError::AccessDenied { user: "a", host: "h", with_password: true };
    for error in [
        denied,
        ServerError::TooManyConnections,
        ServerError::Shutdown,
        ServerError::ConnectionKilled,
        ServerError::ReadOnly,
        ServerError::UnknownStatement { id: 1, command: "mysqld_stmt_execute" },
    ] {
        assert!(!(2000..3000).contains(&error.packet().code), "{error:?}");
    }
    assert_eq!(denied.packet().message, b"Access denied for user 'a'@'h' (using password: YES)");
}

proptest! {
    #[test]
    fn any_ok_packet_survives_the_round_trip(
        affected_rows in any::<u64>(), last_insert_id in any::<u64>(), status in any::<u16>(),
        warnings in any::<u16>(), info in prop::collection::vec(any::<u8>(), 0..300),
        variables in prop::collection::vec(("[a-z]{0,9}", "[a-z]{0,300}"), 0..4), is_end in any::<bool>(),
    ) {
        let mut changes = SessionChanges::default();
        for (name, value) in &variables {
            changes.push(&SessionChange::SystemVariable { name: name.as_bytes(), value: value.as_bytes() });
        }
        let mut status = StatusFlags(status).without(StatusFlags::SESSION_STATE_CHANGED);
        if !changes.is_empty() {
            status = status | StatusFlags::SESSION_STATE_CHANGED;
        }
        let header = if is_end { OkPacket::END_OF_ROWS } else { OkPacket::OK };
        let packet = OkPacket { header, affected_rows, last_insert_id, status, warnings, info, changes };
        prop_assert_eq!(OkPacket::parse(&packet.encode(TRACKED), TRACKED).unwrap(), packet);
    }

    #[test]
    fn any_bytes_never_panic(payload in prop::collection::vec(any::<u8>(), 0..80), flags in any::<u64>()) {
        let capabilities = Capabilities(flags);
        if let Ok(packet) = OkPacket::parse(&payload, capabilities) {
            let _ = packet.changes.iter().count();
            let _ = packet.filtered(|_| true).encode(capabilities);
        }
        let _ = ErrPacket::parse(&payload);
        let _ = EofPacket::parse(&payload);
        let _ = ColumnCount::parse(&payload, capabilities);
        let _ = PreparedStatement::parse(&payload, capabilities);
        let _ = SessionChanges::from_bytes(&payload).filtered(|_| true);
    }
}
