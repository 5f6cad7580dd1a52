import unittest

from wanted import wanted


class Wanted(unittest.TestCase):
    def test_what_follows_the_journal_are_its_parts(self):
        self.assertEqual(wanted(["latency", "journal", "latency", "replay", "storm"]), [("latency",), ("journal", "latency"), ("journal", "replay"), ("storm",)])

    def test_the_journal_without_parts_is_all_of_it(self):
        self.assertEqual([part for _, part in wanted(["journal"])], ["append", "stream", "latency", "replay"])

    def test_what_is_named_twice_is_run_once(self):
        self.assertEqual(wanted(["storm", "journal", "stream", "storm", "journal", "stream"]), [("storm",), ("journal", "stream")])

    def test_a_word_that_names_nothing_is_refused(self):
        with self.assertRaisesRegex(ValueError, "no such series: strom .*storm.*replay"):
            wanted(["storm", "strom"])
