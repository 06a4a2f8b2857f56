//! Asking before something is changed.

use std::io::IsTerminal;

use clap::Args;

use super::output::tell;
use super::{Exit, Failure, Output};

/// Options of every command that changes something.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Consent {
    /// Do it without asking
    #[arg(long, short)]
    pub yes: bool,
}

impl Consent {
    /// Shows `preface` and asks `question` on the terminal; with `--yes` it shows and does not ask. The default
    /// answer is no.
    ///
    /// # Errors
    /// A [`Failure`] with [`Exit::Declined`] if the answer is no, or if there is nobody to ask.
    pub fn ask(self, output: Output, preface: &str, question: &str) -> Result<(), Failure> {
        if self.yes {
            output.say(preface);
            return Ok(());
        }
        let declined = |message: &str| Failure {
            exit: Exit::Declined,
            message: message.to_owned(),
        };
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(declined(
                "nothing was changed: there is no terminal to ask on; look first at what would be done, as --help \
                 shows, then run it again with --yes",
            ));
        }
        tell(preface);
        match dialoguer::Confirm::new()
            .with_prompt(question)
            .default(false)
            .interact()
        {
            Ok(true) => Ok(()),
            Ok(false) => Err(declined("nothing was changed")),
            Err(error) => Err(declined(&format!(
                "nothing was changed: no answer could be read ({error})"
            ))),
        }
    }
}
