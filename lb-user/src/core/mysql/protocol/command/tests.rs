//! Tests of commands.

use super::super::capabilities::Capabilities;
use super::*;
use proptest::prelude::*;

const PLAIN: Capabilities = Capabilities::PROTOCOL_41;
const NAMED: Capabilities = Capabilities(Capabilities::PROTOCOL_41.0 | Capabilities::QUERY_ATTRIBUTES.0);

#[test]
fn every_byte_is_a_command_and_back() {
    for byte in 0..=255 {
        assert_eq!(Command::from_byte(byte).byte(), byte);
    }
    assert_eq!(Command::of(b""), None);
}

#[test]
fn only_commands_that_name_a_statement_are_given_another() {
    let mut payload = b"\x17\x01\0\0\0rest".to_vec();
    assert_eq!(statement_id(&payload), Some(1));
    assert!(put_statement_id(&mut payload, 0x0403_0201));
    assert_eq!(payload, b"\x17\x01\x02\x03\x04rest");
    let mut query = b"\x03SELECT 1".to_vec();
    assert!(!put_statement_id(&mut query, 9) && query == b"\x03SELECT 1");
    assert!(!put_statement_id(&mut [0x19, 1, 0], 9));
}

#[test]
fn the_text_of_a_query_follows_its_attributes() {
    let plain = Query::parse(b"\x03SELECT 1", PLAIN).unwrap();
    assert_eq!((plain.sql, plain.prefix), (&b"SELECT 1"[..], &b"\x03"[..]));
    let none = Query::parse(b"\x03\0\x01SELECT 1", NAMED).unwrap();
    assert_eq!((none.sql, none.attributes), (&b"SELECT 1"[..], 0));
    // trace = 'abc' (VAR_STRING), n = NULL (LONG), i = 7 (LONGLONG), d = a date
    let mut payload = b"\x03\x04\x01\x02\x01".to_vec();
    payload.extend_from_slice(b"\xfd\0\x05trace\x03\0\x01n\x08\0\x01i\x0a\0\x01d");
    payload.extend_from_slice(b"\x03abc\x07\0\0\0\0\0\0\0\x04\xea\x07\x01\x02");
    let prefix = payload.clone();
    payload.extend_from_slice(b"SELECT 2");
    let query = Query::parse(&payload, NAMED).unwrap();
    assert_eq!((query.sql, query.prefix, query.attributes), (&b"SELECT 2"[..], &prefix[..], 4));
    assert_eq!(query.with_sql(b"DO 1"), [&prefix[..], b"DO 1"].concat());
}

#[test]
fn attributes_that_cannot_be_skipped_are_refused() {
    assert_eq!(Query::parse(b"\x03\x01\x02\0\x01SELECT", NAMED), Err(CommandError::AttributeSets));
    assert_eq!(Query::parse(b"\x03\x01\x01\0\0SELECT", NAMED), Err(CommandError::AttributeSets));
    assert_eq!(
        Query::parse(b"\x03\x01\x01\0\x01\x63\0\0SELECT", NAMED),
        Err(CommandError::ParameterType(0x63))
    );
    assert!(Query::parse(b"\x03\xfd\xff\xff\xff\x01", NAMED).is_err());
}

#[test]
fn types_sent_once_are_put_in_later() {
    let first = b"\x17\x01\0\0\0\0\x01\0\0\0\x02\x01\x03\0\xfe\0\x05\0\0\0";
    let execute = Execute::parse(first, 2, PLAIN).unwrap();
    assert_eq!(execute.types_of(first), Some(&b"\x03\0\xfe\0"[..]));
    assert_eq!(&first[execute.values.clone()], b"\x05\0\0\0");
    assert_eq!(execute.with_types(first, b"", 0).unwrap(), first);
    let later = b"\x17\x01\0\0\0\0\x01\0\0\0\0\0\x06\0\0\0\x01a";
    let second = Execute::parse(later, 2, PLAIN).unwrap();
    assert!(!second.types_sent);
    let with = second.with_types(later, b"\x03\0\xfe\0", 2).unwrap();
    assert_eq!(with, b"\x17\x01\0\0\0\0\x01\0\0\0\0\x01\x03\0\xfe\0\x06\0\0\0\x01a");
    assert!(Execute::parse(&with, 2, PLAIN).unwrap().types_sent);
    assert_eq!(second.with_types(later, b"\x03\0", 1), Err(CommandError::Types));
}

#[test]
fn with_attributes_the_packet_has_its_own_count_and_names() {
    // One parameter and one attribute "a".
    let payload = b"\x17\x01\0\0\0\x08\x01\0\0\0\x02\0\x01\x03\0\0\x03\0\x01a\x05\0\0\0\x06\0\0\0";
    let execute = Execute::parse(payload, 1, NAMED).unwrap();
    assert_eq!(execute.parameters, 2);
    assert_eq!(execute.types_of(payload), Some(&b"\x03\0\0\x03\0\x01a"[..]));
    assert_eq!(&payload[execute.values.clone()], b"\x05\0\0\0\x06\0\0\0");
    assert!(!execute.wants_cursor());
    let none = Execute::parse(b"\x17\x01\0\0\0\x01\x01\0\0\0", 0, NAMED).unwrap();
    assert!(none.wants_cursor() && none.parameters == 0);
}

#[test]
fn types_are_put_into_a_bulk_execution() {
    let later = b"\xfa\x01\0\0\0\0\0\0\x05\0\0\0";
    let bulk = BulkExecute::parse(later, 1).unwrap();
    let with = bulk.with_types(later, b"\x03\0").unwrap();
    assert_eq!(with, b"\xfa\x01\0\0\0\x80\0\x03\0\0\x05\0\0\0");
    assert_eq!(BulkExecute::parse(&with, 1).unwrap().types, 7..9);
    assert_eq!(BulkExecute::parse(&with, 1).unwrap().with_types(&with, b"").unwrap(), with);
}

#[test]
fn an_option_switches_multi_statements() {
    assert_eq!(multi_statements_option(&[0x1b, 0, 0]), Some(true));
    assert_eq!(multi_statements_option(&[0x1b, 1, 0]), Some(false));
    assert_eq!(multi_statements_option(&[0x1b, 2, 0]), None);
    assert_eq!(multi_statements_option(&[0x1b, 0]), None);
    assert_eq!(multi_statements_option(&[0x0e, 0, 0]), None);
}

#[test]
fn a_bare_text_is_read_and_written() {
    let text = StatementText::parse(b"\x16SELECT ?").unwrap();
    assert_eq!((text.command, text.text), (Command::StmtPrepare, &b"SELECT ?"[..]));
    assert_eq!(text.encode(), b"\x16SELECT ?");
    assert_eq!(StatementText::parse(b"\x03SELECT"), Err(CommandError::Another(3)));
}

proptest! {
    #[test]
    fn any_bytes_never_panic(
        payload in prop::collection::vec(prop_oneof![0_u8..5, any::<u8>()], 0..80), count in any::<u16>(),
    ) {
        for first in [0x03, 0x17, 0xfa, 0x16] {
            let payload = [&[first], &payload[..]].concat();
            for capabilities in [PLAIN, NAMED] {
                if let Ok(query) = Query::parse(&payload, capabilities) {
                    prop_assert_eq!(query.with_sql(query.sql), payload.clone());
                }
                for count in [count, 1, 0] {
                    if let Ok(execute) = Execute::parse(&payload, count, capabilities) {
                        let _ = execute.with_types(&payload, b"\x03\0", 1);
                    }
                    if let Ok(bulk) = BulkExecute::parse(&payload, count) {
                        let _ = bulk.with_types(&payload, b"\x03\0");
                    }
                }
            }
            let _ = StatementText::parse(&payload);
            let _ = statement_id(&payload);
        }
    }
}
