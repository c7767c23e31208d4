//! `media`: what is in the object store of media, from it into files and from files into it. It knows
//! no DingTalk: the bridge fetches into the store and sends out of it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::exit::Failure;
use super::print;
use super::settings::{self, BrokerArgs};
use crate::broker::{Broker, Description, MediaObject};
use crate::message::{Timestamp, file_name, media_type};

/// Bytes read at a time.
const PIECE: usize = 128 * 1024;
/// Bytes that tell what a file is.
const HEAD: usize = 8192;
/// An object this old is put anew, so that it does not vanish before it is sent: objects live as long as
/// messages.
const FRESH_MILLIS: u128 = 24 * 3600 * 1000;

/// Get, put and list pictures, files, audio and video in the object store
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    nats-dingtalk media ls sales/\n  \
    nats-dingtalk media get 'sales/dingabc:msgX==/1' -o report.pdf\n  \
    nats-dingtalk media put report.pdf   # prints the key for {\"file\":{\"object\":…}}")]
pub(super) struct MediaArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Get(GetArgs),
    Put(PutArgs),
    Ls(LsArgs),
}

/// Write an object to a file
#[derive(Debug, Args)]
struct GetArgs {
    /// Key, as `object` in an inbound message names it
    key: String,
    /// File to write, `-` for standard output [default: its own name, in this folder, unless it is there]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Put a file into the store and print its key
#[derive(Debug, Args)]
struct PutArgs {
    /// File to read
    file: PathBuf,
    /// Key; what is there is replaced [default: made of the content, so that the same content is stored once]
    #[arg(long)]
    key: Option<String>,
    /// Name that receivers see [default: that of the file]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// List objects, the oldest first
#[derive(Debug, Args)]
struct LsArgs {
    /// Beginning of the keys, such as `sales/` for what came in on the account `sales`
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Does one of the three.
pub(super) async fn execute(args: MediaArgs) -> Result<(), Failure> {
    let connect = async |broker: &BrokerArgs| settings::connect(&broker.load_quietly()?).await;
    match args.command {
        Command::Get(args) => {
            let broker = connect(&args.broker).await?;
            let done = get(&broker, &args).await;
            broker.close().await;
            done
        }
        Command::Put(args) => {
            let mut source = Source::open(&args.file).await?;
            let name = args.name.as_deref().map(checked_name).transpose()?;
            let broker = connect(&args.broker).await?;
            let key = source.put(&broker, args.key, name).await;
            broker.close().await;
            print::line(&key?)
        }
        Command::Ls(args) => {
            let broker = connect(&args.broker).await?;
            let found = broker.media().list().await;
            broker.close().await;
            list(&args, found.map_err(Failure::failed)?)
        }
    }
}

async fn get(broker: &Broker, args: &GetArgs) -> Result<(), Failure> {
    let found = broker.media().open(&args.key).await;
    let (object, mut reader) = found.map_err(Failure::failed)?.ok_or_else(|| {
        Failure::Failed(anyhow!(
            "nothing is stored under `{}`; `nats-dingtalk media ls` lists what is, and the status subject says what became of an inbound message's media",
            args.key
        ))
    })?;
    if args.output.as_deref() == Some(Path::new("-")) {
        let mut out = tokio::io::stdout();
        copy(&mut reader, &mut out).await.map_err(Failure::Failed)?;
        return Ok(());
    }
    let path = match &args.output {
        Some(path) => path.clone(),
        None => own_name(&object)?,
    };
    // Under its name only when it is whole.
    let mut part = path.clone().into_os_string();
    part.push(format!(".{:08x}.part", fastrand::u32(..)));
    let part = PathBuf::from(part);
    let written = async {
        let mut file = File::create_new(&part)
            .await
            .with_context(|| format!("cannot write {}", part.display()))?;
        copy(&mut reader, &mut file).await?;
        file.sync_all().await?;
        tokio::fs::rename(&part, &path)
            .await
            .with_context(|| format!("cannot write {}", path.display()))
    };
    if let Err(error) = written.await {
        // It may not even be there.
        let _ = tokio::fs::remove_file(&part).await;
        return Err(Failure::Failed(error));
    }
    print::aside(&format!("{} bytes in {}", object.size, path.display()));
    Ok(())
}

/// The object's own name in this folder; nothing that is there is replaced by it.
fn own_name(object: &MediaObject) -> Result<PathBuf, Failure> {
    let name = object.description.name.as_deref().and_then(file_name);
    let name = name.ok_or_else(|| {
        Failure::Usage(anyhow!(
            "the object has no name; say where it goes with --output"
        ))
    })?;
    let path = PathBuf::from(name);
    if path.exists() {
        return Err(Failure::Usage(anyhow!(
            "{} is there already; say where it goes with --output",
            path.display()
        )));
    }
    Ok(path)
}

async fn copy(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> anyhow::Result<()> {
    let mut from = tokio::io::BufReader::with_capacity(PIECE, from);
    tokio::io::copy_buf(&mut from, to).await?;
    to.flush().await?;
    Ok(())
}

fn list(args: &LsArgs, mut objects: Vec<MediaObject>) -> Result<(), Failure> {
    objects.retain(|object| object.key.starts_with(&args.prefix));
    objects.sort_by(|left, right| (left.stored_at, &left.key).cmp(&(right.stored_at, &right.key)));
    for object in objects {
        let Description { name, mime } = &object.description;
        if args.json {
            let line = json!({
                "key": object.key,
                "size": object.size,
                "name": name,
                "mime": mime,
                "digest": object.digest,
                "stored_at": object.stored_at,
            });
            print::line(&line.to_string())?;
            continue;
        }
        let at = object.stored_at.map(|at| at.to_string());
        let [at, mime, name] = [at.as_deref(), mime.as_deref(), name.as_deref()]
            .map(|text| print::plain(text.unwrap_or("-")).into_owned());
        let key = print::plain(&object.key);
        print::line(&format!(
            "{at}  {:>10}  {mime:<24}  {key}  {name}",
            object.size
        ))?;
    }
    Ok(())
}

/// A file that is to be put into the store.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    file: File,
    /// Name that receivers see.
    pub(super) name: String,
    /// Bytes.
    pub(super) size: u64,
    /// What it is by content and name.
    pub(super) mime: Option<&'static str>,
}

impl Source {
    /// Opens a file and looks at its beginning.
    pub(super) async fn open(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let opened = async {
            let mut file = File::open(path).await?;
            let metadata = file.metadata().await?;
            let mut head = Vec::with_capacity(HEAD);
            if metadata.is_file() {
                let most = u64::try_from(HEAD).unwrap_or(u64::MAX);
                (&mut file).take(most).read_to_end(&mut head).await?;
            }
            Ok::<_, std::io::Error>((file, metadata, head))
        };
        let (file, metadata, head) = opened
            .await
            .with_context(|| format!("cannot read {shown}"))
            .map_err(Failure::Usage)?;
        if !metadata.is_file() {
            return Err(Failure::Usage(anyhow!("{shown} is no file")));
        }
        let name = path.file_name().and_then(OsStr::to_str).and_then(file_name);
        let name = name.ok_or_else(|| {
            Failure::Usage(anyhow!(
                "the name of {shown} cannot be shown to receivers; rename the file"
            ))
        })?;
        Ok(Self {
            mime: media_type(Some(&name), &head),
            path: path.to_owned(),
            size: metadata.len(),
            file,
            name,
        })
    }

    /// Puts it into the store; its key.
    pub(super) async fn put(
        &mut self,
        broker: &Broker,
        key: Option<String>,
        name: Option<String>,
    ) -> Result<String, Failure> {
        let media = broker.media();
        let by_content = key.is_none();
        let key = match key {
            Some(key) if key.is_empty() => {
                return Err(Failure::Usage(anyhow!("a key is not empty")));
            }
            Some(key) => key,
            None => self.content_key().await.map_err(Failure::Failed)?,
        };
        if by_content {
            let found = media.find(&key).await.map_err(Failure::failed)?;
            if found.is_some_and(|object| is_fresh(&object)) {
                return Ok(key);
            }
        }
        self.rewind().await.map_err(Failure::Failed)?;
        let description = Description {
            name: Some(name.unwrap_or_else(|| self.name.clone())),
            mime: self.mime.map(str::to_owned),
        };
        let stored = media.put(&key, description, &mut self.file).await;
        stored
            .with_context(|| format!("{} was not stored", self.path.display()))
            .map_err(Failure::Failed)?;
        Ok(key)
    }

    /// The same for the same bytes, whatever the file is called.
    async fn content_key(&mut self) -> anyhow::Result<String> {
        self.rewind().await?;
        let mut hasher = Sha256::new();
        let mut piece = vec![0; PIECE];
        loop {
            let read = self.file.read(&mut piece).await;
            let read = read.with_context(|| format!("cannot read {}", self.path.display()))?;
            if read == 0 {
                break;
            }
            hasher.update(piece.get(..read).unwrap_or_default());
        }
        Ok(format!("sha256/{:x}", hasher.finalize()))
    }

    async fn rewind(&mut self) -> anyhow::Result<()> {
        let rewound = self.file.rewind().await;
        rewound.with_context(|| format!("cannot read {} twice", self.path.display()))?;
        Ok(())
    }
}

/// A name as receivers may see it, or what is wrong with it.
pub(super) fn checked_name(name: &str) -> Result<String, Failure> {
    match file_name(name) {
        Some(clean) if clean == name => Ok(clean),
        _ => Err(Failure::Usage(anyhow!(
            "`{}` is no file name: it is at most 255 bytes without folders and control characters",
            print::plain(name)
        ))),
    }
}

fn is_fresh(object: &MediaObject) -> bool {
    let age = object.stored_at.map(|at| Timestamp::now().since(at));
    age.is_some_and(|age| age.as_millis() < FRESH_MILLIS)
}
