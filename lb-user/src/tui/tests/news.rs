//! What news do: what is shown, what is frozen, and how a node goes and comes back.

use super::*;
use crate::api::Command;
use crate::api::client::Client;
use crate::api::server::{Context, Policy, serve};
use crate::tui::feed;
use crate::tui::look::Tone;
use std::path::Path;
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;

fn happened(sequence: u64, at_unix_ms: u64) -> Event {
    let mut event = recorded(0).events.remove(0);
    (event.sequence, event.at_unix_ms) = (sequence, at_unix_ms);
    event
}

#[test]
fn a_node_that_is_lost_keeps_what_it_said_and_comes_back() {
    let mut app = app(false, UNICODE);
    let begun = Instant::now();
    assert!(app.hear(News::Lost(0, "no agent answers".into(), begun)));
    assert!(app.hear(News::Lost(0, "no agent answers".into(), begun + Duration::from_secs(7))));
    let lost = app.nodes()[0].lost.clone().expect("it is lost");
    assert_eq!((lost.lasts.as_secs(), &*lost.why), (7, "no agent answers"));
    press_all(&mut app, "3");
    assert_eq!(column(&app, "NODE").iter().filter(|name| *name == "lb1").count(), 10);
    assert!(app.nodes()[1].lost.is_none());

    app.hear(News::Seen(0, Box::new(seen_after(0, 99, begun))));
    assert!(app.nodes()[0].lost.is_none());
    assert_eq!(app.nodes()[0].snapshot().map(|seen| seen.status.uptime_seconds), Some(7384 + 99));
}

#[test]
fn nothing_is_changed_at_a_node_that_is_lost() {
    let mut app = app(true, UNICODE);
    app.hear(News::Lost(0, "gone".into(), Instant::now()));
    press_all(&mut app, "3/lb1↵d");
    assert_eq!(app.mode, Mode::Table);
    assert_eq!(app.note.as_ref().map(|(words, _)| &**words), Some("its agent does not answer"));
}

#[test]
fn what_is_frozen_stays_while_news_come() {
    let mut app = app(false, UNICODE);
    press_all(&mut app, "3f");
    let before = column(&app, "NEW/S");
    let mut seen = seen_after(0, 40, Instant::now());
    seen.snapshot.services.clear();
    assert!(!app.hear(News::Seen(0, Box::new(seen))), "there is nothing to draw");
    assert!(app.is_frozen());
    assert_eq!(column(&app, "NEW/S"), before);
    press_all(&mut app, "f");
    assert_eq!(column(&app, "NEW/S").len(), before.len() / 2);
}

#[test]
fn events_that_come_again_are_the_same_and_those_of_a_new_agent_are_others() {
    let mut app = App::new(vec!["lb1".into()], false, UNICODE);
    assert!(app.hear(News::Happened(0, happened(1, 1000))));
    assert!(app.hear(News::Happened(0, happened(2, 2000))));
    assert!(!app.hear(News::Happened(0, happened(1, 1000))));
    assert!(app.hear(News::Happened(0, happened(1, 3000))));
    assert_eq!(app.nodes()[0].events.len(), 3);
}

#[test]
fn no_more_events_are_kept_than_an_agent_keeps() {
    let mut app = App::new(vec!["lb1".into()], false, UNICODE);
    for number in 1..=1200 {
        app.hear(News::Happened(0, happened(number, number)));
    }
    assert_eq!(app.nodes()[0].events.len(), 1000);
    press_all(&mut app, "8");
    assert_eq!(app.table().rows[0].subject, super::super::table::Subject::Event(1200, 1200));
}

#[test]
fn flows_that_are_the_same_are_not_drawn_again() {
    let mut app = app(false, UNICODE);
    let Recorded { flows, connections, .. } = recorded(0);
    assert!(!app.hear(News::Open(0, Box::new(Open { flows, connections }))));
}

#[test]
fn what_became_of_a_change_is_said_until_the_next_command() {
    let mut app = app(true, UNICODE);
    app.hear(News::Done(1, Err("you may not".into())));
    assert_eq!(app.note, Some(("lb2: not done: you may not".into(), Tone::Bad)));
    press_all(&mut app, "2");
    assert_eq!(app.note, None);
}

#[test]
fn counters_that_begin_anew_make_no_rates() {
    let mut app = app(false, UNICODE);
    let mut seen = seen_after(0, 31, Instant::now() + Duration::from_secs(1));
    for backend in seen.snapshot.services.iter_mut().flat_map(|service| &mut service.backends) {
        (backend.flows_new, backend.forward_bytes, backend.reverse_bytes) = (0, 0, 0);
    }
    app.hear(News::Seen(0, Box::new(seen)));
    assert_eq!(app.nodes()[0].history.new_flows.back(), Some(&0));
    assert_eq!(app.nodes()[0].history.bits.back(), Some(&0));
}

/// An agent that says what was recorded of lb1, for as long as this is kept.
fn serve_recorded(socket: &Path) -> JoinSet<()> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let policy = Policy { group: Some(nix::unistd::getgid()), others_may_read: true };
    let (commands, mut asked) = mpsc::channel(8);
    let context = Context { commands, events: broadcast::channel(8).0, policy };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { serve(listener, context).await.expect("it serves") });
    tasks.spawn(async move {
        let Recorded { snapshot, firewall, flows, connections, .. } = recorded(0);
        while let Some(command) = asked.recv().await {
            // Whoever has left needs no answer.
            match command {
                Command::Look(reply) => drop(reply.send(Ok(snapshot.clone()))),
                Command::LookAtFirewall(reply) => drop(reply.send(Ok(firewall.clone()))),
                Command::ListFlows(_, reply) => drop(reply.send(Ok(flows.clone()))),
                Command::ListConnections(_, reply) => drop(reply.send(Ok(connections.clone()))),
                _ => {}
            }
        }
    });
    tasks
}

/// Waits for news like that.
async fn expect(news: &mut mpsc::UnboundedReceiver<News>, what: &str, is_it: fn(&News) -> bool) {
    let wait = async { while !is_it(&news.recv().await.expect("news go on")) {} };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("no news: {what}"));
}

#[tokio::test]
async fn an_agent_is_asked_on_until_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("lb1.sock");
    let client = Client::named(socket.to_str().expect("a path"));
    assert_eq!(feed::label(&client), "lb1");
    let (inputs, mut news) = mpsc::unbounded_channel();
    let wants = feed::spawn(&[client], &inputs, |news| news);
    expect(&mut news, "nobody is there", |news| matches!(news, News::Lost(0, ..))).await;
    for _ in 0..2 {
        let mut agent = serve_recorded(&socket);
        expect(&mut news, "it is there", |news| matches!(news, News::Seen(0, _))).await;
        // Flows come only where they are wanted.
        wants.send_replace(Some(Wanted::Flows(crate::tui::app::Scope::All)));
        expect(&mut news, "its flows", |news| matches!(news, News::Open(0, _))).await;
        wants.send_replace(None);
        agent.shutdown().await;
        std::fs::remove_file(&socket).expect("the socket was there");
        expect(&mut news, "it is gone", |news| matches!(news, News::Lost(0, ..))).await;
    }
}
