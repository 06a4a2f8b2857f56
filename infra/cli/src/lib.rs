//! The operator's commands, and the whole system on one machine.
//!
//! | module | command | what it does |
//! |---|---|---|
//! | [`table`] | `tidewatch table …` | create, verify, plan, apply and print the tables |
//! | [`config`] | `tidewatch config …` | check a configuration document, print its schema |
//! | [`iam`] | `tidewatch iam …` | print the least policy for a table |
//! | [`state`] | `tidewatch state …` | look into a state table, and change it with care |
//! | [`audit`] | `tidewatch audit …` | search the audit log, export it, follow it, bring events back from it |
//! | [`redrive`] | `tidewatch redrive` | hand over again what Lambda gave up, or what is in quarantine |
//! | [`watch_log`] | `tidewatch watch-log …` | make, show, compact, break and reconfigure the watch log of a state table |
//! | [`maintain`] | `tidewatch maintain` | run a task of the function `maintain` now |
//! | [`up`] | `tidewatch up` | everything on one machine |
//! | [`esm`] | – | Lambda's event source mapping, simulated |
//! | [`command`] | – | the command line |
//! | [`cli`] | – | what all commands share: options, exit codes, AWS clients, output |

pub mod audit;
pub mod cli;
pub mod command;
pub mod config;
pub mod esm;
pub mod iam;
pub mod maintain;
pub mod redrive;
pub mod state;
pub mod table;
pub mod up;
pub mod watch_log;
