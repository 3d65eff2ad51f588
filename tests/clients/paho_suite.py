"""Runs the MQTT 5.0 tests that come with paho-mqtt's source package, and tells a line of JSON for each.

    paho_suite.py SOURCES PORT

The tests would start a broker of their own; the module that they take it from is replaced here by one that names a port
of this machine.
"""

import json
import sys
import types
import unittest


class Elsewhere:
    """Stands where the tests look for their own broker's listening socket."""

    def __init__(self, port):
        self.socket = self
        self.port = port

    def getsockname(self):
        return ("127.0.0.1", self.port)

    def shutdown(self):
        pass


def stand_in(port):
    brokers = types.ModuleType("mqtt.brokers")
    brokers.run = lambda config: None
    brokers.listeners = types.SimpleNamespace(TCPListeners=types.SimpleNamespace(server=Elsewhere(port)))
    mqtt = types.ModuleType("mqtt")
    mqtt.brokers = brokers
    sys.modules.update({"mqtt": mqtt, "mqtt.brokers": brokers})


class Telling(unittest.TestResult):
    def __init__(self, told):
        super().__init__()
        self.told = told

    def tell(self, test, outcome, why=""):
        name = test.id().rsplit(".", 1)[-1]
        print(json.dumps({"test": name, "outcome": outcome, "why": why}), file=self.told, flush=True)

    def addSuccess(self, test):
        self.tell(test, "passed")

    def addFailure(self, test, error):
        self.tell(test, "failed", f"{error[0].__name__}: {error[1]}")

    addError = addFailure

    def addSkip(self, test, reason):
        self.tell(test, "skipped", reason)


def main():
    sources, port = sys.argv[1], int(sys.argv[2])
    told, sys.stdout = sys.stdout, sys.stderr
    sys.path.insert(0, sources)
    stand_in(port)
    from tests import test_mqttv5

    unittest.defaultTestLoader.loadTestsFromTestCase(test_mqttv5.Test).run(Telling(told))


main()
