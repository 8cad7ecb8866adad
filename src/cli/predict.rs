//! `maas predict MODEL [FILE]`: asks a running server.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use tokio::runtime::Builder;

use crate::cli::{Failure, Outcome};
use crate::client::{Client, Input, Outcome as Answer, Piece, Prediction};

/// What is read of a file or of standard input; a server takes less.
const INPUT_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// NAME, or NAME@VERSION
    model: String,
    /// The file to predict on; without one, standard input
    file: Option<PathBuf>,
    /// A text to predict on, in place of a file
    #[arg(long, conflicts_with = "file")]
    text: Option<String>,
    /// http://HOST:PORT
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A file that holds a key of the server
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A parameter of the model, such as `top_k=3`; once or more
    #[arg(short, long = "parameter", value_name = "NAME=VALUE", value_parser = pair)]
    parameters: Vec<(String, String)>,
    /// Print a text while it is generated
    #[arg(long)]
    stream: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Pieces of several texts on one line would tell nobody anything.
const SEVERAL: &str =
    "--stream: expected one text, got several; leave --stream out to get them all";

pub fn run(args: &Args) -> Outcome {
    let mut client = Client::new(&args.url)?;
    if let Some(path) = &args.key_file {
        let key = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        client = client.with_key(key.trim());
    }
    let input = input(args)?;
    let parameters: Vec<(&str, &str)> =
        args.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if !args.stream {
            return show(&client.predict(&args.model, input, &parameters).await?);
        }
        let mut pieces = client.stream(&args.model, input, &parameters).await?;
        let mut out = std::io::stdout().lock();
        while let Some(piece) = pieces.next().await? {
            match piece {
                Piece::Text { index: 0, text } => write!(out, "{text}")?,
                Piece::Text { .. } => return Err(SEVERAL.into()),
                Piece::Whole(_) => writeln!(out)?,
            }
            out.flush()?;
        }
        Ok(())
    })
}

fn input(args: &Args) -> Result<Input, Failure> {
    if let Some(text) = &args.text {
        return Ok(Input::text(text));
    }
    let mut bytes = Vec::new();
    if let Some(path) = &args.file {
        let said = |error| format!("{}: {error}", path.display());
        let file = std::fs::File::open(path).map_err(said)?;
        file.take(INPUT_BYTES_MAX).read_to_end(&mut bytes).map_err(said)?;
    } else {
        if std::io::stdin().is_terminal() {
            return Err("give a file, --text, or something on standard input".into());
        }
        std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_end(&mut bytes)?;
    }
    Ok(Input::file(bytes))
}

/// Prints what people want to read; the receipt goes to standard error.
fn show(prediction: &Prediction) -> Outcome {
    let mut out = std::io::stdout().lock();
    for outcome in &prediction.outcomes {
        match outcome {
            Answer::Classes { predictions } => {
                for class in predictions {
                    writeln!(out, "{:.4}  {}", class.score, class.label)?;
                }
            }
            Answer::Generated { text, .. } | Answer::Transcript { text, .. } => {
                writeln!(out, "{text}")?;
            }
            Answer::Embedding { embedding: values, .. } | Answer::Values { values } => {
                let values: Vec<String> = values.iter().map(f32::to_string).collect();
                writeln!(out, "{}", values.join(" "))?;
            }
        }
    }
    eprintln!("{}/{} {}", prediction.model, prediction.version, prediction.digest);
    Ok(())
}
