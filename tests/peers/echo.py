"""A far end of aiortc behind WHIP on one connection: it decodes what comes, and sends it back coded anew.

    echo.py ADDRESS PORT
"""

import sys

from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

connections = {}


async def publish(request):
    # Without servers: those it has by default are somebody else's.
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.on("track", connection.addTrack)
    await connection.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    name = str(len(connections))
    connections[name] = connection
    return web.Response(status=201, text=connection.localDescription.sdp, content_type="application/sdp",
                        headers={"Location": f"resource/{name}"})


async def end(request):
    await connections[request.match_info["name"]].close()
    return web.Response()


async def health(_):
    return web.Response(text="ready")


app = web.Application()
app.add_routes([web.post("/whip", publish), web.delete("/resource/{name}", end), web.get("/", health)])
web.run_app(app, host=sys.argv[1], port=int(sys.argv[2]), print=None)
