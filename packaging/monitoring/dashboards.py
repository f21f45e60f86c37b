#!/usr/bin/env python3
"""Writes the Grafana dashboards room.json and campus.json beside this file, or into the folder that is named.

Edit this, not the JSON. Panels name their series by what a box shows (README, "What Prometheus sees") and by what
rules.yml records.
"""

import json
import pathlib
import sys

# Of the one box that the room dashboard is about.
BOX = 'job="bellwether",instance=~"$instance"'
# Series of all boxes, each with its room; the campus dashboard is filtered by this.
PLACE = 'school=~"$school",building=~"$building"'
ROOM = f"* on (job, instance) group_left (room, name, building, service) instance:bellwether_room:info{{{PLACE}}}"
UP = 'up{job="bellwether"}'
WAITS_FOR_PEOPLE = 'state=~"needs_human|refused|countered|evaluated|suspected"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Dashboard:
    """Panels, laid out from left to right in 24 columns."""

    def __init__(self, uid, title, variables, links=()):
        self.panels, self.x, self.y, self.height = [], 0, 0, 0
        self.whole = {
            "uid": uid, "title": title, "tags": ["bellwether"], "schemaVersion": 37, "version": 1, "editable": True,
            "timezone": "browser", "refresh": "1m", "time": {"from": "now-24h", "to": "now"}, "links": list(links),
            "templating": {"list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}, *variables]},
            "annotations": {"list": []}, "panels": self.panels}

    def row(self, title):
        self.y += self.height
        self.x, self.height = 0, 1
        self.place({"type": "row", "title": title, "collapsed": False, "panels": []}, 24, 1)

    def place(self, panel, width, height):
        if self.x + width > 24:
            self.x, self.y, self.height = 0, self.y + self.height, 0
        panel.update(id=len(self.panels) + 1, gridPos={"x": self.x, "y": self.y, "w": width, "h": height})
        self.x, self.height = self.x + width, max(self.height, height)
        self.panels.append(panel)

    def panel(self, kind, title, targets, unit, width, height, description="", fields=None, **more):
        queries = [{"refId": chr(ord("A") + at), "datasource": DATASOURCE, "expr": expr, "legendFormat": legend}
                   for at, (expr, legend) in enumerate(targets)]
        defaults = {"unit": unit, **(fields or {})}
        self.place({"type": kind, "title": title, "description": description, "datasource": DATASOURCE, "targets": queries,
                    "fieldConfig": {"defaults": defaults, "overrides": []}, **more}, width, height)

    def graph(self, title, *targets, unit="short", width=8, description="", **fields):
        custom = {"fillOpacity": 5, "showPoints": "auto", "spanNulls": False}
        self.panel("timeseries", title, targets, unit, width, 7, description, {"custom": custom, **fields},
                   options={"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}})

    def stat(self, title, expr, legend="", unit="short", width=4, bad=None, good=None, words=None, description=""):
        """One number; red from `bad` on, or below `good`."""
        steps = [{"color": "text", "value": None}]
        if bad is not None:
            steps = [{"color": "green", "value": None}, {"color": "red", "value": bad}]
        if good is not None:
            steps = [{"color": "red", "value": None}, {"color": "green", "value": good}]
        options = {str(value): {"text": text} for value, text in (words or {}).items()}
        fields = {"thresholds": {"mode": "absolute", "steps": steps},
                  "mappings": [{"type": "value", "options": options}] if options else []}
        self.panel("stat", title, [(expr, legend)], unit, width, 4, description, fields,
                   options={"textMode": "name" if legend else "auto", "colorMode": "value", "graphMode": "none",
                            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}})

    def table(self, title, targets, rename, width=12, height=8, hide=(), unit="short", description=""):
        """The newest values; columns of several targets are joined by their labels."""
        self.panel("table", title, [(expr, "") for expr in targets], unit, width, height, description)
        panel = self.panels[-1]
        for query in panel["targets"]:
            query.update(format="table", instant=True)
        hidden = {name: True for name in ("Time", "__name__", "job", *hide)}
        panel["transformations"] = [{"id": "merge", "options": {}},
                                    {"id": "organize", "options": {"excludeByName": hidden, "renameByName": rename}}]

    def unit_of(self, column, unit):
        """Another unit for one column of the newest table."""
        self.panels[-1]["fieldConfig"]["overrides"].append(
            {"matcher": {"id": "byName", "options": column}, "properties": [{"id": "unit", "value": unit}]})

    def mark(self, name, expr, title, color, value_for_time=False):
        self.whole["annotations"]["list"].append(
            {"name": name, "datasource": DATASOURCE, "enable": True, "iconColor": color, "expr": expr,
             "titleFormat": title, "useValueForTime": value_for_time, "step": "1m"})


def variable(name, label, query, many=False, hide=0):
    return {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "query": {"query": query, "refId": name},
            "refresh": 2, "sort": 1, "hide": hide, "includeAll": many, "multi": many, **({"allValue": ".*"} if many else {})}


def of(metric, more=""):
    """A series of the one box."""
    return f"bellwether_{metric}{{{BOX}{',' + more if more else ''}}}"


def room():
    room = Dashboard("bellwether-room", "bellwether: room · 教室", [
        variable("school", "School · 学校", "label_values(instance:bellwether_room:info, school)"),
        variable("room", "Room · 教室", 'label_values(instance:bellwether_room:info{school="$school"}, room)'),
        variable("instance", "", 'label_values(instance:bellwether_room:info{school="$school",room="$room"}, instance)', hide=2)],
        [{"title": "Campus · 校区", "type": "link", "url": "/d/bellwether-campus"}])
    p95, stream = 'stat="p95"', "{{probe}} {{stream}}"
    room.mark("Versions · 版本变更", f"bellwether_version_since_timestamp_seconds{{{BOX}}} * 1000", "{{component}}", "blue", True)
    room.mark("Maintenance · 维护", f"bellwether_in_maintenance{{{BOX}}} == 1", "maintenance · 维护", "orange")

    room.stat("Reachable · 可达", f"up{{{BOX}}}", good=1, words={0: "no · 否", 1: "yes · 是"})
    room.stat("Open faults · 故障", f"sum({of('incidents')})", bad=1)
    room.stat("Open bookings · 预约", f"sum({of('bookings')})")
    room.stat("Needs a person · 待人工", f"sum({of('bookings', WAITS_FOR_PEOPLE)})", bad=1)
    room.stat("Maintenance · 维护", of("in_maintenance"), words={0: "no · 否", 1: "under way · 进行中"})
    room.stat("Timetable · 课表", of("room_timetable") + " == 1", "{{state}}")

    room.row("Call · 通话")
    room.graph("Call works · 通话可用", (of("media_success"), "{{probe}}"), min=0, max=1)
    room.graph("Delay, p95 · 时延", (of("media_audio_delay_seconds", p95), "{{probe}} sound · 声音"),
               (of("media_video_delay_seconds", p95), "{{probe}} picture · 画面"), unit="s",
               description="Loop: from this box through the far end and back. · 环回时延")
    room.graph("Round trip, p95 · 往返时间", (of("media_round_trip_seconds", p95), "{{probe}} {{leg}}"), unit="s")
    room.graph("Loss before repair · 丢包率", (of("media_loss_ratio"), stream), unit="percentunit", min=0)
    room.graph("Loss by leg · 分段丢包率", (of("media_reported_loss_ratio"), "{{probe}} {{stream}} {{leg}}"), unit="percentunit", min=0)
    room.graph("Loss after repair, late · 修复后丢包、迟到", (of("media_residual_loss_ratio"), stream + " lost · 丢失"),
               (of("media_late_packets_ratio"), stream + " late · 迟到"), unit="percentunit", min=0)
    room.graph("Jitter · 抖动", (of("media_jitter_seconds"), stream), unit="s", min=0)
    room.graph("Delay variation, p95 · 时延变化", (of("media_delay_variation_seconds", p95), stream), unit="s", min=0)
    room.graph("Bursts of loss · 突发丢包", (of("media_burst_loss_ratio"), stream), unit="percentunit", min=0,
               description="Worst 200 ms of a call. · 最差的 200 毫秒")
    room.graph("Sound against picture · 音画不同步", (of("media_skew_seconds"), "{{probe}}"), unit="s",
               description="Positive: sound early (BT.1359). · 正值：声音超前")
    room.graph("Pictures that arrive · 帧到达率", (of("media_frame_ratio"), "{{probe}}"), unit="percentunit", min=0)
    room.graph("Frozen · 卡顿时间占比", (of("media_freeze_ratio"), "{{probe}}"), unit="percentunit", min=0)
    room.graph("Connect, first picture and sound · 接通、首帧、首声", (of("media_connect_seconds"), "{{probe}} connect · 接通"),
               (of("media_first_frame_seconds"), "{{probe}} picture · 首帧"), (of("media_first_sound_seconds"), "{{probe}} sound · 首声"), unit="s", min=0)
    room.graph("Mouth to ear, estimate · 口到耳时延估计", (of("mouth_to_ear_seconds"), "{{probe}}"), unit="s", min=0)
    room.graph("Throughput · 媒体吞吐", (of("media_throughput_bytes_per_second"), stream + " {{direction}}"), unit="Bps", min=0)

    room.row("Sound in the room · 教室声学")
    room.graph("Loss of echo · 回声衰减", (of("echo_loss_decibels"), "{{probe}}"), (of("echo_return_loss_decibels"), "{{probe}} return · 返回"), unit="dB")
    room.graph("Works, muted · 工作、静音", (of("microphone_working"), "microphone · 麦克风"), (of("loudspeaker_working"), "loudspeaker · 扬声器"),
               (of("sound_muted"), "muted · 静音 {{component}}"), min=0, max=1)
    room.graph("Noise floor, hum · 本底噪声、哼声", (of("echo_noise_floor_decibels"), "noise · 噪声"), (of("echo_hum_decibels"), "hum · 哼声"), unit="dB")

    room.row("Box · 主机")
    room.graph("Processor · CPU", (of("cpu_utilization_ratio"), "all · 全部"), (of("cpu_busiest_core_utilization_ratio"), "busiest core · 最忙核心"),
               (of("cpu_steal_ratio"), "steal · 被抢占"), unit="percentunit", min=0, max=1)
    room.graph("Memory, disks · 内存、磁盘", (of("memory_utilization_ratio"), "memory · 内存"), (of("disk_utilization_ratio"), "{{mount}}"),
               unit="percentunit", min=0, max=1)
    room.graph("Pressure · 压力", (of("cpu_pressure_ratio"), "CPU"), (of("memory_pressure_ratio"), "memory · 内存"),
               (of("io_pressure_ratio"), "disks · 磁盘"), unit="percentunit", min=0)
    room.graph("Network · 网络", (of("network_throughput_bytes_per_second"), "{{device}} {{direction}}"), unit="Bps", min=0)
    room.graph("Temperature · 温度", (of("temperature_celsius"), "{{device}}"), unit="celsius")
    room.graph("Programs that must run · 必需进程", (of("process_present"), "{{component}}"), min=0, max=1)

    room.row("Pages, media server · 页面、媒体服务器")
    room.graph("Response · 响应时间", (of("page_response_seconds"), "{{probe}}"), unit="s", min=0)
    room.graph("Page works · 页面可用", (of("page_success"), "{{probe}}"), min=0, max=1)
    room.stat("Certificate expires in · 证书剩余", f"min({of('certificate_remaining_seconds')})", unit="s", good=14 * 86400, width=8)
    room.graph("Users of the media server · 用户数", (of("service_users"), "{{probe}}"), min=0)
    room.graph("Media server: processor, memory · CPU、内存", (of("service_cpu_utilization_ratio"), "{{probe}} CPU"),
               (of("service_memory_utilization_ratio"), "{{probe}} memory · 内存"), unit="percentunit", min=0, max=1)

    room.row("Inspection and maintenance · 检测与维护")
    room.table("Probes · 检测项", [of("probe_success"), f"time() - {of('probe_last_run_timestamp_seconds')}", of("probe_starved"),
               f"sum by (probe) (increase({of('probe_failures_total')}[1d]))", f"sum by (probe) (increase({of('probe_inconclusive_total')}[1d]))"],
               {"probe": "probe · 检测项", "Value #A": "newest worked · 最近成功", "Value #B": "age · 距今", "Value #C": "no free time · 无空闲",
                "Value #D": "failed, 1 d · 失败", "Value #E": "no result, 1 d · 无结论"}, hide=("instance",))
    room.unit_of("age · 距今", "s")
    room.table("Versions · 版本", [of("component_info")], {"component": "component · 组件", "version": "version · 版本"}, hide=("instance", "Value"))
    room.graph("Held back, by reason · 被推迟", (f"sum by (probe, reason) (increase({of('probe_skipped_total')}[1h])) > 0", "{{probe}} {{reason}}"))
    room.graph("Failed, by reason · 失败原因", (f"sum by (probe, reason) (increase({of('probe_failures_total')}[1h])) > 0", "{{probe}} {{reason}}"))
    room.graph("Duration of runs · 检测用时", (of("probe_last_duration_seconds"), "{{probe}}"), unit="s", min=0)
    room.graph("Faults by family · 故障类别", (of("incidents"), "{{family}}"), min=0, width=6)
    room.graph("Bookings by state · 预约状态", (of("bookings") + " > 0", "{{state}}"), min=0, width=6)
    room.graph("Orders that wait · 待发送", (of("orders", 'state=~"pending|inflight|ambiguous"'), "{{channel}} {{state}}"), min=0, width=6)
    room.graph("Oldest order that waits · 最久未送达", (of("outbox_oldest_seconds"), "age · 时长"), unit="s", min=0, width=6)
    return room


def campus():
    campus = Dashboard("bellwether-campus", "bellwether: campus · 校区", [
        variable("school", "School · 学校", "label_values(instance:bellwether_room:info, school)", many=True),
        variable("building", "Building · 楼栋", 'label_values(instance:bellwether_room:info{school=~"$school"}, building)', many=True)])
    name = "{{room}} {{name}}"

    def by_room(metric, how="max"):
        return f"{how} by (job, instance) ({metric}) {ROOM}"

    def worst(metric, most=10, how="max"):
        return f"{'topk' if how == 'max' else 'bottomk'}({most}, {by_room(metric, how)})"

    campus.stat("Rooms · 教室", f"count(instance:bellwether_room:info{{{PLACE}}})")
    campus.stat("Not reachable · 不可达", f"sum(1 - {by_room(UP)})", bad=1)
    campus.stat("Rooms with faults · 有故障", f"count({by_room('bellwether_incidents')} > 0) or vector(0)", bad=1)
    campus.stat("In maintenance · 维护中", f"sum({by_room('bellwether_in_maintenance')})")
    campus.stat("Needs a person · 待人工", f"sum(sum by (job, instance) (bellwether_bookings{{{WAITS_FOR_PEOPLE}}}) {ROOM})", bad=1)
    campus.stat("Days off known for · 节假日数据", f"min({by_room('bellwether_holiday_coverage_seconds', 'min')})", unit="s", good=14 * 86400)

    campus.row("Rooms · 教室")
    campus.table("All rooms · 全部教室", [
        by_room(UP), by_room("sum by (job, instance) (bellwether_incidents)"),
        by_room("sum by (job, instance) (bellwether_bookings)"), by_room("bellwether_media_success", "min"),
        by_room("bellwether_media_loss_ratio"), by_room('bellwether_media_round_trip_seconds{stat="p95"}'),
        by_room('bellwether_media_audio_delay_seconds{stat="p95"}'), by_room("bellwether_cpu_utilization_ratio"),
        by_room("bellwether_memory_utilization_ratio")],
        {"room": "room · 教室", "name": "name · 名称", "building": "building · 楼栋", "service": "media server · 媒体服务器",
         "Value #A": "reachable · 可达", "Value #B": "faults · 故障", "Value #C": "bookings · 预约", "Value #D": "call works · 通话可用",
         "Value #E": "loss · 丢包率", "Value #F": "round trip · 往返", "Value #G": "sound delay · 声音时延", "Value #H": "CPU",
         "Value #I": "memory · 内存"}, width=24, height=14)
    for column, unit in (("loss · 丢包率", "percentunit"), ("round trip · 往返", "s"), ("sound delay · 声音时延", "s"),
                         ("CPU", "percentunit"), ("memory · 内存", "percentunit")):
        campus.unit_of(column, unit)
    campus.panels[-1]["fieldConfig"]["overrides"].append({
        "matcher": {"id": "byName", "options": "room · 教室"},
        "properties": [{"id": "links", "value": [{"title": "Room · 教室", "url": "/d/bellwether-room?var-room=${__value.text}"}]}]})

    campus.row("Where it is worst · 最差的教室")
    campus.graph("Loss, ten worst · 丢包率", (worst("bellwether_media_loss_ratio"), name), unit="percentunit", min=0)
    campus.graph("Round trip p95, ten worst · 往返时间", (worst('bellwether_media_round_trip_seconds{stat="p95"}'), name), unit="s", min=0)
    campus.graph("Sound delay p95, ten worst · 声音时延", (worst('bellwether_media_audio_delay_seconds{stat="p95"}'), name), unit="s", min=0)
    campus.graph("Pages, ten slowest · 页面响应", (worst("bellwether_page_response_seconds"), name), unit="s", min=0)
    campus.graph("Disks, ten fullest · 磁盘使用率", (worst("bellwether_disk_utilization_ratio"), name), unit="percentunit", min=0, max=1)
    campus.graph("Loss of echo, ten worst · 回声衰减", (worst("bellwether_echo_loss_decibels", how="min"), name), unit="dB")

    campus.row("By media server · 按媒体服务器")
    campus.graph("Rooms that cannot call · 无法通话的教室", ('service:bellwether_failing_rooms:count{school=~"$school"}', "{{service}}"), min=0)
    campus.graph("Loss, median of rooms · 丢包率中位数", ('service:bellwether_media_loss_ratio:median{school=~"$school"}', "{{service}}"), unit="percentunit", min=0)
    campus.graph("Round trip, median of rooms · 往返时间中位数", ('service:bellwether_media_round_trip_seconds:median{school=~"$school"}', "{{service}}"), unit="s", min=0)
    campus.graph("Users · 用户数", (f"max by (service) ({by_room('bellwether_service_users')})", "{{service}}"), min=0)
    campus.graph("Processor · CPU", (f"max by (service) ({by_room('bellwether_service_cpu_utilization_ratio')})", "{{service}}"), unit="percentunit", min=0, max=1)
    campus.graph("Network · 网络", (f"max by (service) ({by_room('bellwether_service_network_transmit_bytes_per_second')})", "{{service}} out · 发送"),
                 (f"max by (service) ({by_room('bellwether_service_network_receive_bytes_per_second')})", "{{service}} in · 接收"), unit="Bps", min=0)

    campus.row("Maintenance, versions · 维护、版本")
    campus.graph("Bookings by state · 预约状态", (f"sum by (state) (bellwether_bookings {ROOM}) > 0", "{{state}}"), min=0)
    campus.graph("Faults by family · 故障类别", (f"sum by (family) (bellwether_incidents {ROOM})", "{{family}}"), min=0)
    campus.graph("Oldest order that waits, ten · 最久未送达", (worst("bellwether_outbox_oldest_seconds"), name), unit="s", min=0)
    campus.table("Versions · 版本", [f"count by (component, version) (bellwether_component_info {ROOM})"],
                 {"component": "component · 组件", "version": "version · 版本", "Value": "rooms · 教室数"})
    campus.table("Alerts · 告警", ['ALERTS{alertname=~"Bellwether.+",alertstate="firing"}'],
                 {"alertname": "alert · 告警", "room": "room · 教室", "name": "name · 名称"}, hide=("alertstate", "instance", "Value", "school", "campus"))
    return campus


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent
    for file, dashboard in (("room.json", room()), ("campus.json", campus())):
        (folder / file).write_text(json.dumps(dashboard.whole, ensure_ascii=False, indent=1) + "\n")
