"""Posts with curl, each time in a process of its own: a line of JSON for each answer.

    curl_client.py 1.1|2 URL TOKEN SIZE...
"""

import json
import os
import subprocess
import sys

from bodies import event

_, version, url, token, *sizes = sys.argv
options = ["--silent", "--show-error", "--max-time", "30", "--cacert", os.environ["CA_FILE"], f"--http{version}"]
headers = ["--header", f"Authorization: Bearer {token}", "--header", "Content-Type: application/json"]
# What comes behind the body of the answer.
outcome = "\\n%{http_code} %{http_version}"
for size in map(int, sizes):
    curl = ["curl", *options, *headers, "--data-binary", "@-", "--write-out", outcome, url]
    ran = subprocess.run(curl, input=event(size), capture_output=True)
    body, _, last = ran.stdout.decode().rpartition("\n")
    status, spoken = last.split()
    answered = ran.returncode == 0 and spoken == version
    fault = f"exit code {ran.returncode}, HTTP/{spoken}: {ran.stderr.decode()}"
    print(json.dumps({"status": int(status), "body": body} if answered else {"error": fault}))
