# The bridge alone. It speaks MCP on stdin and stdout, so a client runs it attached:
#   docker build -t waha-mcp .
#   docker run --rm -i --read-only --cap-drop ALL --security-opt no-new-privileges \
#     --add-host host.docker.internal:host-gateway -e WAHA_URL=http://host.docker.internal:3000 -e WAHA_API_KEY \
#     -v waha-mcp-apps:/home/waha/.config/waha-mcp -v waha-mcp-state:/home/waha/.local/state/waha-mcp waha-mcp
# The volumes hold the Apps with their keys, and the state: what was sent, questions and their answers, the trail.
FROM python:3.13.16-slim-trixie AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY waha_mcp ./waha_mcp
RUN python -m venv /opt/waha-mcp \
 && /opt/waha-mcp/bin/pip install --no-cache-dir --constraint constraints.txt '.[redis]' \
 && /opt/waha-mcp/bin/python -m compileall -q /opt/waha-mcp/lib

FROM python:3.13.16-slim-trixie
COPY --from=build /opt/waha-mcp /opt/waha-mcp
# The base image comes without bytecode, and the user cannot write there.
RUN python -m compileall -q /usr/local/lib
RUN useradd --create-home --uid 10001 waha
USER waha
WORKDIR /home/waha
# A new volume takes its owner and mode from the folder in the image.
RUN mkdir -p -m 700 /home/waha/.config/waha-mcp /home/waha/.local/state/waha-mcp
VOLUME ["/home/waha/.config/waha-mcp", "/home/waha/.local/state/waha-mcp"]
ENV PATH=/opt/waha-mcp/bin:$PATH PYTHONUNBUFFERED=1
ENTRYPOINT ["waha-mcp"]
CMD ["serve"]
