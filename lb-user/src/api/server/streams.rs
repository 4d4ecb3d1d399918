//! Answers that go on: events, and packets as they go by.

use super::{Context, Json, Query};
use crate::api::{ApiError, Command, Event, EventKind, TraceRequest};
use crate::model::unix_ms;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;
use tokio::sync::broadcast;

/// Packets as they go by, one JSON object a line, until the peer leaves.
pub(super) async fn trace(
    State(context): State<Context>,
    Json(request): Json<TraceRequest>,
) -> Result<Response, ApiError> {
    let packets = context.ask(|reply| Command::Trace(request, reply)).await?;
    let lines = stream::unfold(packets, |mut packets| async move { Some((packets.recv().await?, packets)) });
    Ok(Response::new(Body::from_stream(lines.map(|packet| Ok::<_, std::io::Error>(line(&packet))))))
}

#[derive(Deserialize)]
pub(super) struct EventQuery {
    #[serde(default)]
    follow: bool,
}

/// Past events as one JSON object a line; with `?follow=true` those to come as well, until the peer leaves.
pub(super) async fn events(
    State(context): State<Context>,
    Query(query): Query<EventQuery>,
) -> Result<Response, ApiError> {
    // Subscribe first, so that nothing falls between past and future.
    let to_come = context.events.subscribe();
    let past = context.ask(Command::PastEvents).await?;
    let last = past.back().map_or(0, |event| event.sequence);
    let text: String = past.iter().map(line).collect();
    if !query.follow {
        return Ok(Response::new(Body::from(text)));
    }
    let first = stream::iter([text]);
    // With the agent it ends, also where connections go on.
    let commands = context.commands.clone();
    let gone = async move { commands.closed().await };
    let later = follow(to_come, last).map(|event| line(&event)).take_until(Box::pin(gone));
    Ok(Response::new(Body::from_stream(first.chain(later).map(Ok::<_, std::io::Error>))))
}

/// Events after the one with the number `last`. Who reads too slowly misses some, and is told how many.
pub(super) fn follow(to_come: broadcast::Receiver<Event>, last: u64) -> impl Stream<Item = Event> {
    stream::unfold((to_come, last), |(mut to_come, last)| async move {
        loop {
            let event = match to_come.recv().await {
                Ok(event) if event.sequence <= last => continue,
                Ok(event) => event,
                Err(broadcast::error::RecvError::Lagged(count)) => missed(count, last),
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            let last = event.sequence;
            return Some((event, (to_come, last)));
        }
    })
}

/// Stands for events that were missed, with the number of the last of them.
fn missed(count: u64, last: u64) -> Event {
    Event {
        sequence: last + count,
        at_unix_ms: unix_ms(SystemTime::now()),
        kind: EventKind::Warning,
        message: format!(
            "{count} events were missed here: this reader was too slow; the agent's log has them"
        ),
    }
}

fn line<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}
