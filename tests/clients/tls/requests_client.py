"""Posts with requests, one after the other: a line of JSON for each answer.

    requests_client.py 1.1 URL TOKEN SIZE...
"""

import json
import os
import sys

import requests

from bodies import event

_, version, url, token, *sizes = sys.argv
assert version == "1.1", "requests speaks nothing else"
with requests.Session() as session:
    session.trust_env = False  # the variables of the machine name other authorities
    session.verify = os.environ["CA_FILE"]
    for size in map(int, sizes):
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            answer = session.post(url, data=event(size), headers=headers, timeout=30)
            print(json.dumps({"status": answer.status_code, "body": answer.text}))
        except requests.RequestException as error:
            print(json.dumps({"error": repr(error)}))
