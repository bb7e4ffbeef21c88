# For the receiving Dovecot (Pigeonhole): a message that multidropd had to send twice arrives once.
# See docs/guarantees.md. Goes into sieve_before, so that it runs for every mailbox.
require "duplicate"; # RFC 7352

if duplicate :header "X-Multidrop-Id" :seconds 604800 {
	discard;
	stop;
}
