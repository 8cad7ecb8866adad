//! `maas key new [NAME] [--scopes inference,…]`

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::cli::Outcome;
use crate::package::sha256;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a key: its line for the keys file on standard output, the key itself on standard error
    New {
        /// Whose key it is; shown in logs
        #[arg(default_value = "unnamed", value_parser = name)]
        name: String,
        /// What the key allows
        #[arg(long, value_delimiter = ',', default_value = "inference",
              value_parser = ["inference", "metrics", "admin"])]
        scopes: Vec<String>,
    },
}

pub fn run(args: Args) -> Outcome {
    let Verb::New { name, scopes } = args.verb;
    let mut bytes = [0; 32];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| format!("the system gives no random bytes: {error}"))?;
    let key = text(&bytes);
    // Two streams, so that `maas key new ann >>keys.txt` files the digest and shows the key.
    println!("{}", line(&key, &scopes, &name));
    eprintln!("the key, shown only now: {key}");
    Ok(())
}

/// The key as a caller sends it. Its prefix lets scanners of leaked secrets know it.
fn text(bytes: &[u8; 32]) -> String {
    format!("maas_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// The key's line in the keys file.
fn line(key: &str, scopes: &[String], name: &str) -> String {
    format!("{} {} {name}", sha256(key.as_bytes()), scopes.join(","))
}

fn name(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@');
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 letters, digits or . _ - @".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_holds_the_digest_of_what_the_caller_sends() {
        let key = text(&[0; 32]);
        assert_eq!(key, format!("maas_{}", "A".repeat(43)));
        let line = line(&key, &["inference".to_owned(), "admin".to_owned()], "ann");
        assert_eq!(line, format!("{} inference,admin ann", sha256(key.as_bytes())));
    }

    #[test]
    fn a_name_is_one_word() {
        for bad in ["", "a b", "#x", "é", &"a".repeat(65)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
