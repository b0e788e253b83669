#!/usr/bin/env perl
# Masks or refuses access keys, tokens and private keys in what goes to a tool and comes back from it.
# Owns its side of the protocol (docs/protocol.md) with Perl's core modules only; the pipeline file decides the rest.
use strict;
use warnings;
use B ();
use JSON::PP ();

use constant { PARSE => -32700, INVALID => -32600, NO_METHOD => -32601, PARAMS => -32602, PLUGIN => -32804 };

my %PATTERNS = (
    aws_access_key => qr/\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/,
    bearer_token   => qr/\bBearer\s+[A-Za-z0-9._~+\/-]{16,}=*/,
    github_token   => qr/\bgh[pousr]_[A-Za-z0-9]{36,}\b/,
    json_web_token => qr/\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+/,
    private_key    => qr/-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)/s,
    slack_token    => qr/\bxox[abprs]-[A-Za-z0-9-]{10,}/,
);

# Where each hook keeps what we look at.
my %FIELD = (
    tool_pre_invoke   => 'args',
    tool_post_invoke  => 'result',
    prompt_pre_fetch  => 'args',
    prompt_post_fetch => 'result',
);

# allow_bignum: a number that Perl cannot hold comes back as it was written, not as a string.
my $json = JSON::PP->new->utf8->canonical->allow_bignum;
my %configs;
my %answers = (
    initialize         => \&initialize,
    configure          => \&configure,
    'stage/invoke'     => \&invoke,
    'stage/compensate' => sub { refuse(PARAMS, 'this plugin has no effects, and so no undo') },
    ping               => sub { {} },
    shutdown           => sub { {} },
);

binmode $_ for *STDIN, *STDOUT;
$| = 1;    # an answer that stays in a buffer is no answer

while (my $line = <STDIN>) {
    my $request = eval { $json->decode($line) };
    if (ref $request ne 'HASH') {
        send_error(undef, PARSE, 'not a line of JSON');
        next;
    }
    next unless exists $request->{id};    # a notification: we work in order, so a cancellation comes too late
    answer($request);
    last if ($request->{method} // '') eq 'shutdown';
}

sub answer {
    my ($request) = @_;
    my ($id, $method) = @$request{qw(id method)};
    return send_error(undef, INVALID, 'the id must be an integer') unless is_integer($id);
    my $act = $answers{ $method // '' }
        or return send_error($id, NO_METHOD, 'there is no method ' . ($method // 'without a name'));
    my $result = eval { $act->($request->{params} // {}) };
    return send_message({ id => $id, result => $result }) if defined $result;
    return send_error($id, $@->{code}, $@->{message}) if ref $@ eq 'HASH';
    return send_error($id, PLUGIN, "$@");
}

sub initialize {
    return {
        protocol => '1.0',
        plugin   => { name => 'secret-filter', version => '1.0.0' },
        stages   => { secrets => { async => JSON::PP::false } },
    };
}

sub configure {
    my ($params) = @_;
    ref $params->{configs} eq 'HASH' or refuse(PARAMS, 'configs must be an object');
    %configs = map {
        my $with = $params->{configs}{$_}{with} // {};
        ($_ => { action => $with->{action} // 'mask', replacement => $with->{replacement} // '[secret]' })
    } keys %{ $params->{configs} };
    return {};
}

sub invoke {
    my ($call) = @_;
    ($call->{stage} // '') eq 'secrets' or refuse(PARAMS, 'this plugin has one stage: secrets');
    my $config = $configs{ $call->{config} // '' } or refuse(PARAMS, 'this configuration was never configured');
    ref $call->{payload} eq 'HASH' or refuse(PARAMS, 'payload must be an object');
    my $field = $FIELD{ $call->{hook} // '' };
    return {} unless defined $field && exists $call->{payload}{$field};

    my %found;
    my ($change) = masked($call->{payload}{$field}, $config->{replacement}, \%found);
    return {} unless %found;
    my $count = 0;
    $count += $_ for values %found;
    my $kinds = join ', ', sort keys %found;
    note($call, "found $kinds");
    return { violation => violation($kinds, $count), out => { found => $count } } if $config->{action} eq 'deny';
    return { patch => { $field => $change }, out => { found => $count } };
}

# The value as a merge patch (RFC 7396) would have to give it: of an object only the members that change.
sub masked {
    my ($value, $replacement, $found) = @_;
    if (ref $value eq 'HASH') {
        my %change;
        for my $name (keys %$value) {
            my ($new, $changed) = masked($value->{$name}, $replacement, $found);
            $change{$name} = $new if $changed;
        }
        return (\%change, scalar %change ? 1 : 0);
    }
    if (ref $value eq 'ARRAY') {
        my @pairs = map { [ masked_whole($_, $replacement, $found) ] } @$value;
        return ([ map { $_->[0] } @pairs ], scalar grep { $_->[1] } @pairs);
    }
    return ($value, 0) unless is_string($value);
    return masked_text($value, $replacement, $found);
}

# Inside an array a patch replaces everything, so an object there is given whole.
sub masked_whole {
    my ($value, $replacement, $found) = @_;
    my ($new, $changed) = masked($value, $replacement, $found);
    return ($value, 0) unless $changed;
    return (whole($value, $new), 1);
}

sub whole {
    my ($value, $change) = @_;
    return $change unless ref $value eq 'HASH';
    my %copy = %$value;
    $copy{$_} = whole($value->{$_}, $change->{$_}) for keys %$change;
    return \%copy;
}

sub masked_text {
    my ($text, $replacement, $found) = @_;
    my $hits = 0;
    for my $kind (sort keys %PATTERNS) {
        my $times = ($text =~ s/$PATTERNS{$kind}/$replacement/g) || 0;
        $found->{$kind} += $times if $times;
        $hits += $times;
    }
    return ($text, $hits);
}

sub violation {
    my ($kinds, $count) = @_;
    return {
        code    => 'secret_found',
        reason  => "the call holds $kinds",
        details => { found => $count },
    };
}

sub note {
    my ($call, $message) = @_;
    my %origin = map { $_ => $call->{$_} } grep { defined $call->{$_} } qw(run stage);
    send_message({ method => 'log', params => { level => 'info', message => $message, logger => 'secret_filter', %origin } });
}

sub refuse {
    my ($code, $message) = @_;
    die { code => $code, message => $message };
}

sub send_error {
    my ($id, $code, $message) = @_;
    send_message({ id => $id, error => { code => $code, message => $message } });
}

sub send_message {
    my ($members) = @_;
    print STDOUT $json->encode({ jsonrpc => '2.0', %$members }), "\n";
}

# JSON tells "7" from 7 and so must we; in Perl only the flags of a scalar know.
sub is_string {
    my ($value) = @_;
    return 0 if !defined $value || ref $value;
    return B::svref_2object(\$value)->FLAGS & B::SVf_POK() ? 1 : 0;
}

sub is_integer {
    my ($value) = @_;
    return 0 if !defined $value || ref $value;
    my $flags = B::svref_2object(\$value)->FLAGS;
    return ($flags & B::SVf_IOK()) && !($flags & B::SVf_POK()) ? 1 : 0;
}
