# SPDX-License-Identifier: Apache-2.0
# Perl: numbers, regular expressions, hashes, big integers, digests, processes.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex sha512_base64);
use Digest::MD5 qw(md5_hex);
use List::Util qw(reduce shuffle sum0 first);
use Math::BigInt;
use Math::BigFloat;
use MIME::Base64;
use POSIX qw(floor fmod strtol);
use Storable qw(freeze thaw);
use Compress::Zlib;
use Encode;

$| = 1;
srand(42);
my $seed = 12345;
sub rnd { $seed = ($seed * 1103515245 + 12345) % 2147483648; $seed }

print join(' ', map { sprintf '%.17g', $_ } sqrt(2), sin(1), cos(2), exp(1.5),
	log(10), atan2(1, 2), 2**0.5, 1e308 * 10, -7 % 3, int(-7.5)), "\n";
my $x = 0.3;
$x = 3.9 * $x * (1 - $x) for 1 .. 100000;
printf "%.17g %a\n", $x, $x;
print 18446744073709551615 + 1, ' ', 9223372036854775807 * 3, ' ', 0xff ^ 0x0f0,
	' ', ~0 >> 3, ' ', -17 / 4, "\n";
{ use integer; print -17 / 4, ' ', -17 % 4, ' ', 1 << 62, "\n"; }

my $f = reduce { $a * $b } map { Math::BigInt->new($_) } 1 .. 120;
print "$f ", $f->copy->bsqrt, "\n";
print Math::BigFloat->new(2)->bsqrt(60), ' ', Math::BigFloat->bpi(60), "\n";
print Math::BigInt->new(3)->bmodpow('123456789012345678901', '1000000007'), "\n";

my @words = map { join '', map { chr(97 + rnd() / 65536 % 26) }
	1 .. 2 + rnd() / 65536 % 6 } 1 .. 20000;
my %count;
$count{$_}++ for @words;
print scalar(keys %count), ' ', join(',', (sort {
	$count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 9]), "\n";
my $text = join ' ', @words;
my @m = $text =~ /\b(([a-z])[a-z]*\2)\b/g;
print scalar(@m), ' ', md5_hex("@m"), "\n";
(my $y = $text) =~ s/([aeiou])([^aeiou ])/$2$1/g;
$y =~ tr/a-m/n-z/;
print sha256_hex($y), ' ', sha512_base64($text), "\n";
print join('|', 'foo=1, bar=22; baz=333' =~ /(?<k>\w+)=(\d+)/g), "\n";
print "balanced\n" if '(a(b)c(d(e)))' =~ /^(\((?:[^()]++|(?1))*\))$/;

my $z = compress($text, 9);
print length($z), ' ', md5_hex($z), ' ', uncompress($z) eq $text ? 'same' : 'bad',
	"\n";
print md5_hex(encode_base64($text)), ' ', md5_hex(encode('UTF-16LE', $text)), "\n";
my $deep = { map { $_ => [1 .. $_] } 1 .. 100 };
print sum0(map { scalar @$_ } values %{ thaw(freeze($deep)) }), "\n";
print unpack('H*', pack('CnNvVq<d>f<A5Z5w', 1, 2, 3, 4, 5, -6, 1.5, 0.1, 'ab', 'cd',
	300)), "\n";
printf "%s %e %g %.10f %08.3f %+d %x %o %b %s\n", 'a', 12345.678, 0.0001, 1 / 3,
	3.14159, 5, 255, 8, 10, join ',', sort { $a <=> $b } 10, 9, 2, 33;
print floor(-2.5), ' ', fmod(7.5, 2), ' ', (strtol('777', 8))[0], "\n";

eval { die { code => 7 } };
print "died with $@->{code}\n";
local $SIG{ALRM} = sub { die "alarm\n" };
eval { alarm 1; 1 while 1; };
print "caught $@";
pipe(my $r, my $w) or die;
if (!fork) { close $r; print $w "from child $_\n" for 1 .. 3; close $w; exit 9 }
close $w;
print while <$r>;
wait;
print 'status ', $? >> 8, ' ', `echo shell; exit 2`, $? >> 8, "\n";
my @grid = map { [map { rnd() % 100 } 1 .. 40] } 1 .. 40;
my @p = map { my $i = $_; [map { my $j = $_;
	sum0(map { $grid[$i][$_] * $grid[$_][$j] } 0 .. 39) } 0 .. 39] } 0 .. 39;
print md5_hex(join ',', map { @$_ } @p), "\n";
print join(' ', grep { !grep { $_ } map { 0 } () and (1 x $_) !~ /^1?$|^(11+?)\1+$/ }
	1 .. 120), "\n";
