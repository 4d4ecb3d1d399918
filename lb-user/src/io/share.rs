//! Nodes tell each other what they share of certificates: over TCP, sealed with a key made of the one they share for flows.
//!
//! Keys of certificates go this way, so what goes is not only sealed but hidden (AES-256-GCM). An answer is under the nonce of its
//! question: an old one is of no use. Owns the sockets and the frames; what is told, and what becomes of what is heard, the agent decides.

use crate::core::acme::{SHARED_BYTES_MAX, Shared};
use crate::core::flow_sync::SyncKey;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// For one exchange: nodes are near each other.
const EXCHANGED_WITHIN: Duration = Duration::from_secs(3);
/// Others may try to talk to us, too.
const AT_ONCE: usize = 8;
const QUESTION: &[u8] = b"lbctl certificates 2: question";
const ANSWER: &[u8] = b"lbctl certificates 2: answer to ";

/// What another node has told, and where its answer is wanted.
#[derive(Debug)]
pub struct Told {
    /// All it knows.
    pub shared: Shared,
    /// All that this one knows, once it has heard that.
    pub answer: oneshot::Sender<Shared>,
}

/// The key of what goes between nodes.
#[derive(Clone)]
pub struct ShareKey(Arc<RandomizedNonceKey>);

impl ShareKey {
    /// Of the key that nodes share for flows, and no way back to it.
    ///
    /// # Errors
    /// The cryptography is broken.
    pub fn new(key: &SyncKey) -> io::Result<Self> {
        let mut sealed = b"certificates that nodes share".to_vec();
        key.seal(&mut sealed);
        let (_, own) = sealed.split_last_chunk::<32>().ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self(Arc::new(RandomizedNonceKey::new(&AES_256_GCM, own).map_err(io::Error::other)?)))
    }

    fn seal(&self, context: &[u8], shared: &Shared) -> io::Result<Vec<u8>> {
        let mut bytes = shared.encode();
        let nonce =
            self.0.seal_in_place_append_tag(Aad::from(context), &mut bytes).map_err(io::Error::other)?;
        Ok([nonce.as_ref(), &bytes[..]].concat())
    }

    fn open(&self, context: &[u8], frame: &[u8]) -> io::Result<Shared> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let (nonce, sealed) =
            frame.split_first_chunk::<NONCE_LEN>().ok_or_else(|| wrong("it is too short"))?;
        let mut bytes = sealed.to_vec();
        let opened = self.0.open_in_place(Nonce::from(nonce), Aad::from(context), &mut bytes);
        let opened = opened.map_err(|_| wrong("it is not sealed with the key that nodes share"))?;
        Shared::decode(opened).ok_or_else(|| wrong("it is of another release"))
    }
}

/// The context of an answer: the question's nonce.
fn answer_to(question: &[u8]) -> Vec<u8> {
    [ANSWER, question.get(..NONCE_LEN).unwrap_or_default()].concat()
}

async fn send(stream: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), frame].concat()).await
}

async fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::try_from(stream.read_u32().await?).map_err(io::Error::other)?;
    if length > SHARED_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
    }
    let mut frame = Vec::new();
    // No more is kept than has come.
    stream.take(length as u64).read_to_end(&mut frame).await?;
    if frame.len() == length { Ok(frame) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Tells a node all this one knows, and hears what that one does. It comes from the address that the other one knows this node by.
///
/// # Errors
/// It is not there, or has another key.
pub async fn exchange(from: IpAddr, peer: SocketAddr, key: ShareKey, shared: Shared) -> io::Result<Shared> {
    let exchanging = async {
        let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(from, 0))?;
        let mut stream = socket.connect(peer).await?;
        let question = key.seal(QUESTION, &shared)?;
        send(&mut stream, &question).await?;
        let answer = receive(&mut stream).await?;
        key.open(&answer_to(&question), &answer)
    };
    timeout(EXCHANGED_WITHIN, exchanging).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Hears what peers tell, until the task is ended or nobody wants it any more.
pub async fn serve(listener: TcpListener, peers: BTreeSet<IpAddr>, key: ShareKey, heard: mpsc::Sender<Told>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Ok(place) = places.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, from)) if peers.contains(&from.ip()) => stream,
            Ok(_) => continue,
            Err(_) => {
                // Out of descriptors, say.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (key, heard) = (key.clone(), heard.clone());
        tokio::spawn(async move {
            // The other node says what is wrong on its side.
            let _: Result<io::Result<()>, _> = timeout(EXCHANGED_WITHIN, answer(stream, &key, &heard)).await;
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, key: &ShareKey, heard: &mpsc::Sender<Told>) -> io::Result<()> {
    let question = receive(&mut stream).await?;
    let shared = key.open(QUESTION, &question)?;
    let (answer, answered) = oneshot::channel();
    heard.send(Told { shared, answer }).await.map_err(io::Error::other)?;
    let known = answered.await.map_err(io::Error::other)?;
    send(&mut stream, &key.seal(&answer_to(&question), &known)?).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::acme::Item;

    fn key(secret: u8) -> ShareKey {
        ShareKey::new(&SyncKey::new(&[secret; 32]).expect("long enough")).expect("a key")
    }

    fn shared(directory: &str) -> Shared {
        let mut shared = Shared::default();
        shared.put(Item::Account(directory.into()), Duration::ZERO, "-----SECRET-----".into());
        shared
    }

    #[tokio::test]
    async fn two_nodes_hear_of_each_other_and_a_third_without_the_key_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let (heard, mut told) = mpsc::channel(1);
        let serving = tokio::spawn(serve(listener, BTreeSet::from([at.ip()]), key(1), heard));
        let answering = tokio::spawn(async move {
            let told: Told = told.recv().await.expect("a question");
            told.answer.send(shared("theirs")).expect("a node that waits");
            told.shared
        });
        let answer = exchange(at.ip(), at, key(1), shared("ours")).await.expect("an answer");
        assert_eq!(answer, shared("theirs"));
        assert_eq!(answering.await.expect("no panic"), shared("ours"));
        assert!(exchange(at.ip(), at, key(2), shared("ours")).await.is_err(), "another key");
        serving.abort();
    }

    #[test]
    fn what_goes_is_hidden_and_of_use_in_its_place_alone() {
        let sealed = key(1).seal(QUESTION, &shared("a")).expect("sealed");
        assert!(!sealed.windows(6).any(|six| six == b"SECRET"));
        assert_eq!(key(1).open(QUESTION, &sealed).ok(), Some(shared("a")));
        assert!(key(1).open(&answer_to(&sealed), &sealed).is_err(), "a question is no answer");
        assert!(key(2).open(QUESTION, &sealed).is_err());
        for at in [0, NONCE_LEN, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key(1).open(QUESTION, &changed).is_err(), "byte {at}");
        }
    }
}
