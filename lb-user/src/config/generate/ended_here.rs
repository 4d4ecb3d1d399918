//! Any terms of connections that end here, and any way in which TLS may end, or begin again.

use super::millis;
use crate::config::{
    Acme, AgentTerms, BackendTls, CertificateFiles, ClientCertificates, Log, Metrics, MysqlMonitor,
    MysqlTerms, MysqlUser, ProxyTerms, Secret, TlsTerms, acme_file,
};
use crate::model::{
    AcmeChallenge, ClientCertificateMode, Consistency, LogFormat, ProxyVersion, TlsVersion, UnknownName,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn file() -> impl Strategy<Value = PathBuf> {
    "/etc/[abc]\\.pem".prop_map(PathBuf::from)
}

/// Where certificates are kept in all configurations, and who gives them out: their files have names by that.
const ACME_FOLDER: &str = "/acme";
const ACME_DIRECTORY: &str = "https://a/d";

pub(super) fn acme() -> impl Strategy<Value = Acme> {
    // The other one wants a service that redirects.
    let challenge = Just(AcmeChallenge::TlsAlpn01);
    let contact = vec("mailto:[a-c]@d", 0..2);
    (contact, challenge, option::of(file())).prop_map(|(contact, challenge, ca)| Acme {
        directory: ACME_DIRECTORY.into(),
        contact,
        challenge,
        folder: ACME_FOLDER.into(),
        ca,
    })
}

pub(super) fn metrics() -> impl Strategy<Value = Metrics> {
    (1_u16..4).prop_map(|port| Metrics { listen: ([127, 0, 0, 1], port).into() })
}

pub(super) fn log() -> impl Strategy<Value = Log> {
    let format = prop_oneof![Just(LogFormat::Auto), Just(LogFormat::Json)];
    let level = prop_oneof![Just("info"), Just("debug,lbctl::slow=off")];
    (level, format).prop_map(|(level, format)| Log { level: level.parse().unwrap(), format })
}

pub(super) fn agent() -> impl Strategy<Value = AgentTerms> {
    let terms = prop_oneof![Just((None, false)), Just((None, true)), Just((Some("lbctl".to_owned()), true))];
    (terms, vec("/w/[a-c]", 0..3)).prop_map(|((user, confine), writable)| AgentTerms {
        user,
        confine,
        writable: writable.into_iter().map(Into::into).collect(),
    })
}

pub(super) fn write_agent(agent: &AgentTerms) -> String {
    let user = agent.user.as_ref().map_or_else(String::new, |user| format!("user = {user:?}\n"));
    format!("[agent]\n{user}confine = {}\nwritable = {:?}\n", agent.confine, agent.writable)
}

pub(super) fn write_acme(acme: &Acme) -> String {
    let Acme { directory, contact, challenge, folder, ca } = acme;
    let ca = ca.as_ref().map_or_else(String::new, |ca| format!("ca = {ca:?}\n"));
    format!(
        "[acme]\ndirectory = {directory:?}\ncontact = {contact:?}\nchallenge = \"{challenge}\"\nfolder = {folder:?}\n{ca}terms_of_service_agreed = true\n"
    )
}

fn certificate() -> impl Strategy<Value = CertificateFiles> {
    let from_files = (file(), option::of(file()));
    let from_files = from_files.prop_map(|(file, key)| CertificateFiles { file, key, acme: Vec::new() });
    let names = proptest::sample::subsequence(vec!["a.org".to_owned(), "b.org".to_owned()], 1..=2);
    let asked_for = names.prop_map(|acme| CertificateFiles {
        file: acme_file(Path::new(ACME_FOLDER), ACME_DIRECTORY, &acme),
        key: None,
        acme,
    });
    prop_oneof![from_files, asked_for]
}

pub(super) fn tls() -> impl Strategy<Value = TlsTerms> {
    let mode = prop_oneof![Just(ClientCertificateMode::Required), Just(ClientCertificateMode::Optional)];
    let client =
        (file(), option::of(file()), mode).prop_map(|(ca, crl, mode)| ClientCertificates { ca, crl, mode });
    let version = prop_oneof![Just(TlsVersion::V1_2), Just(TlsVersion::V1_3)];
    let unknown = prop_oneof![Just(UnknownName::Default), Just(UnknownName::Refuse)];
    let alpn = proptest::sample::subsequence(vec!["h2".to_owned(), "http/1.1".to_owned()], 0..=2);
    (vec(certificate(), 1..3), version, alpn, unknown, option::of(client)).prop_map(
        |(certificates, min_version, alpn, unknown_name, client)| TlsTerms {
            certificates,
            min_version,
            alpn,
            unknown_name,
            client,
        },
    )
}

fn secret() -> impl Strategy<Value = Secret> {
    prop_oneof![
        "[a-c]{1,3}".prop_map(Secret::Inline),
        file().prop_map(Secret::File),
        "[A-C]".prop_map(Secret::Environment),
    ]
}

pub(super) fn mysql() -> impl Strategy<Value = MysqlTerms> {
    let consistency =
        prop_oneof![Just(Consistency::Session), Just(Consistency::Global), Just(Consistency::Eventual)];
    let monitor = ("[m-o]", secret(), millis(50..53));
    let monitor = monitor.prop_map(|(user, password, interval)| MysqlMonitor { user, password, interval });
    let known = proptest::collection::btree_map("[a-c]", secret(), 1..3);
    let users = prop_oneof![
        known.prop_map(|users| (users, false)),
        proptest::collection::btree_map("[a-c]", secret(), 0..3).prop_map(|users| (users, true)),
    ];
    let replication =
        option::of(("[r-t]", secret()).prop_map(|(name, password)| MysqlUser { name, password }));
    let monitor = (monitor, replication);
    let lends = option::of((1_u64..4).prop_map(std::time::Duration::from_secs));
    let waits = (millis(0..3), option::of(millis(1..4)), lends);
    (consistency, millis(1..4), waits, monitor, users).prop_map(
        |(
            consistency,
            max_lag,
            (max_wait, slow_log, multiplex_after),
            (monitor, replication),
            (users, passthrough),
        )| {
            let user = |(name, password)| MysqlUser { name, password };
            MysqlTerms {
                consistency,
                max_lag,
                max_wait,
                multiplex_after,
                slow_log,
                monitor,
                replication,
                users: users.into_iter().map(user).collect(),
                passthrough,
            }
        },
    )
}

pub(super) fn backend_tls() -> impl Strategy<Value = BackendTls> {
    (file(), option::of("[a-c]\\.org")).prop_map(|(ca, server_name)| BackendTls { ca, server_name })
}

pub(super) fn proxy() -> impl Strategy<Value = ProxyTerms> {
    let numbers = (vec(millis(1..4), 6), 0..3_u32, 0..3_u32);
    let send = prop_oneof![Just(None), Just(Some(ProxyVersion::V1)), Just(Some(ProxyVersion::V2))];
    let from = vec((0..3_u8).prop_map(|net| format!("10.{net}.0.0/16").parse().unwrap()), 0..3);
    (numbers, send, from, any::<(bool, bool)>()).prop_map(
        |((times, retries, max_queue), send_proxy, accept_proxy_from, (transparent, connection_log))| {
            ProxyTerms {
                connect_timeout: times[0],
                handshake_timeout: times[1],
                queue_timeout: times[2],
                client_timeout: times[3],
                backend_timeout: times[4],
                half_closed_timeout: times[5],
                retries,
                max_queue,
                accept_proxy_from,
                send_proxy,
                transparent,
                connection_log,
            }
        },
    )
}
