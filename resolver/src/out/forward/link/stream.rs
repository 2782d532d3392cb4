//! A connection over TCP or TLS, shared by questions that wait for their answers in any order (RFC 7766).

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use super::LinkError;
use crate::out::forward::request::{Request, random};

/// Questions that may wait on one connection.
pub(super) const MAX_ON_CONNECTION: usize = 256;

/// One connection. It is closed when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Stream {
    outgoing: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Waiting>,
    _tasks: Arc<Tasks>,
}

/// Who waits, by id; `None` when the connection is gone.
struct Waiting(Mutex<Option<HashMap<u16, oneshot::Sender<Vec<u8>>>>>);

/// A place among those who wait, given back when dropped.
struct Place {
    waiting: Arc<Waiting>,
    id: u16,
    answer: oneshot::Receiver<Vec<u8>>,
}

struct Tasks([AbortHandle; 2]);

impl Stream {
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (reader, writer) = split(stream);
        let (outgoing, frames) = mpsc::channel(MAX_ON_CONNECTION);
        let waiting = Arc::new(Waiting(Mutex::new(Some(HashMap::new()))));
        let reading = tokio::spawn(read(reader, waiting.clone())).abort_handle();
        let writing = tokio::spawn(write(writer, frames, waiting.clone())).abort_handle();
        Self { outgoing, waiting, _tasks: Arc::new(Tasks([reading, writing])) }
    }

    /// The message that answers a request, as far as its id says.
    pub(super) async fn ask(&self, request: &Request) -> Result<Vec<u8>, LinkError> {
        let place = Waiting::enter(&self.waiting)?;
        let message = request.with_id(place.id);
        let len = u16::try_from(message.len()).map_err(|_| LinkError::Odd("the question is too long".into()))?;
        let frame = [&len.to_be_bytes()[..], &message].concat();
        self.outgoing.send(frame).await.map_err(|_| closed())?;
        place.answer().await
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Option<HashMap<u16, oneshot::Sender<Vec<u8>>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(this: &Arc<Self>) -> Result<Place, LinkError> {
        let mut guard = this.lock();
        let all = guard.as_mut().ok_or_else(closed)?;
        if all.len() >= MAX_ON_CONNECTION {
            return Err(LinkError::Odd("too many questions wait on one connection".into()));
        }
        // Nobody can forge blindly on a connection: any id that is free will do.
        let mut id = random().unwrap_or(0);
        while all.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        let (sender, answer) = oneshot::channel();
        all.insert(id, sender);
        Ok(Place { waiting: this.clone(), id, answer })
    }

    fn give(&self, message: Vec<u8>) {
        let Some(id) = message.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)) else { return };
        if let Some(sender) = self.lock().as_mut().and_then(|all| all.remove(&id)) {
            // Whoever asked may have gone.
            drop(sender.send(message));
        }
    }

    /// Wakes all who wait, with nothing.
    fn close(&self) {
        self.lock().take();
    }
}

impl Place {
    async fn answer(mut self) -> Result<Vec<u8>, LinkError> {
        (&mut self.answer).await.map_err(|_| closed())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(all) = self.waiting.lock().as_mut() {
            all.remove(&self.id);
        }
    }
}

fn closed() -> LinkError {
    LinkError::Network("the connection was closed".to_owned())
}

async fn read(mut reader: impl AsyncRead + Unpin, waiting: Arc<Waiting>) {
    let mut next = async || -> io::Result<Vec<u8>> {
        let mut message = vec![0; usize::from(reader.read_u16().await?)];
        reader.read_exact(&mut message).await?;
        Ok(message)
    };
    while let Ok(message) = next().await {
        waiting.give(message);
    }
    waiting.close();
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Vec<u8>>, waiting: Arc<Waiting>) {
    while let Some(frame) = frames.recv().await {
        if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
            break;
        }
    }
    waiting.close();
}
