"""Stands in for curl on a machine without it: `curl -sS URL [-H HEADER]... [-d BODY]`, and nothing else."""

import argparse
import sys
import urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("-sS", action="store_true", dest="silent", required=True)
parser.add_argument("url")
parser.add_argument("-H", action="append", default=[], dest="headers")
parser.add_argument("-d", dest="body")
given = parser.parse_args()
headers = dict(header.split(": ", 1) for header in given.headers)
with urllib.request.urlopen(urllib.request.Request(given.url, given.body.encode(), headers)) as answer:
    sys.stdout.write(answer.read().decode())
