# SPDX-License-Identifier: Apache-2.0
"""python_tests.py MODULE...: Python's own regression tests, as Debian packs
them, and the outcome of each case. MODULE:PATTERN takes classes by name."""
import fnmatch
import importlib
import sys
import unittest
import warnings

# Cases that take half of the time for a hundredth of the cases, and others that
# want more than a CPU.
LEFT_OUT = [
    'test_long.LongTest.test_correctly_rounded_true_division',
    'test_long.LongTest.test_bit_length',
    'test_math.MathTests.testFsum',
    'test_decimal.CContextAPItests.test_pickle',
    'test_decimal.CWhitebox.test_bignum',
    'test_pow.PowTest.test_big_exp',
    'test_pow.PowTest.test_negative_exponent',
    'test_math.MathTests.test_prod',
    'test_math.MathTests.testDist',
    'test_math.MathTests.testFactorial',
    'test_re.ReTests.test_big_codesize',
    'test_struct.StructTest.*runtime_shutdown',
    'test_hashlib.KDFTests.*',
    'test_json.*.test_unicode_decode',
    'test_json.test_tool.*',
    'test_json.*nested_objects*',
    'test_*denial_of_service*',  # how long it takes
    'test_hashlib.*_vector*',  # a network
    'test_decimal.*.test_implicit_from_int',  # another context
]


class Outcome(unittest.TestResult):
    """A line for each case."""

    def say(self, test, outcome):
        print(f'{test.id()}: {outcome}', flush=True)

    def addSuccess(self, test):
        self.say(test, 'ok')

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say(test, f'skipped: {reason}')

    def addError(self, test, err):
        super().addError(test, err)
        self.say(test, f'error: {err[1]!r}')

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.say(test, f'failed: {err[1]}')

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.say(subtest, f'failed: {err[1]!r}')


def cases(suite):
    for t in suite:
        if isinstance(t, unittest.TestSuite):
            yield from cases(t)
        else:
            yield t


warnings.simplefilter('ignore')
result = Outcome()
for arg in sys.argv[1:]:
    name, _, pattern = arg.partition(':')
    if name == 'test_decimal':  # what its own main program begins with
        test_decimal = importlib.import_module('test.test_decimal')
        test_decimal.init(test_decimal.C)
    for case in cases(unittest.defaultTestLoader.loadTestsFromName(
            'test.' + name)):
        if any(fnmatch.fnmatchcase(case.id().partition('.')[2], p)
               for p in LEFT_OUT):
            continue
        if fnmatch.fnmatchcase(type(case).__name__, pattern or '*'):
            case.run(result)
sys.exit(not result.wasSuccessful())
